"""The states of the dialogue and what moves between them.

COMMAND --line--> COMMAND | ASKED | SASL | CLOSED      DATA --end of content--> ASKED | COMMAND
SASL    --line--> COMMAND | ASKED | SASL | CLOSED      DATA --too much--------> CLOSED
ASKED   --answer--> COMMAND | DATA | CLOSED            CLOSED: input is dropped for ever
"""

import enum


class State(enum.Enum):
    """Where the dialogue stands."""

    COMMAND = enum.auto()
    """A command line is awaited."""
    SASL = enum.auto()
    """A line of an AUTH dialogue is awaited."""
    DATA = enum.auto()
    """Content is coming in."""
    ASKED = enum.auto()
    """An event is out; nothing goes on until it is answered."""
    CLOSED = enum.auto()
    """The last reply is said."""


class EngineError(RuntimeError):
    """An answer without a question, or of the wrong kind: a bug of the caller."""
