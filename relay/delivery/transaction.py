"""One mail on its way through a session, and why a session ended: the notes that the engine takes.

Values filled in by `engine.py` alone; `attempt.py` turns them into an `Outcome`.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.delivery.outgoing import Outgoing, Problem, Stage
from relay.delivery.replies import RawReply
from relay.delivery.transcript import Transcript


class Transaction:
    """One mail on its way: filled in by the engine, handed to `done` when nothing more will happen
    to it.
    """

    __slots__ = (
        "ambiguous",
        "began",
        "content",
        "done",
        "dot_written",
        "ended",
        "enhanced",
        "error",
        "log",
        "mail",
        "mail_line",
        "problem",
        "rcpt_line",
        "reply",
        "stage",
        "touched",
    )

    def __init__(
        self, mail: Outgoing, content: bytes, done: Callable[[Transaction], None], now: float
    ) -> None:
        """Start with nothing said."""
        self.mail = mail
        self.content = content  # stuffed, with the final dot
        self.mail_line = b""
        self.rcpt_line = b""
        self.done = done
        self.began = now
        self.ended = now
        self.stage = Stage.MAIL
        self.reply: RawReply | None = None  # the refusal, or the answer to the final dot
        self.problem: Problem | None = None
        self.enhanced = ""  # with `error`: the RFC 3463 code of what we found ourselves
        self.error = ""
        self.dot_written = False
        self.touched = False  # the server has answered something about it
        self.ambiguous = False
        self.log: Transcript

    @property
    def delivered(self) -> bool:
        """Tell whether the server took the message."""
        return self.problem is None and self.reply is not None and self.stage is Stage.DOT


class Failure:
    """Why a session ended before it was ready, or in the middle of work."""

    __slots__ = ("error", "problem", "reply", "stage")

    def __init__(
        self, stage: Stage, problem: Problem, error: str = "", reply: RawReply | None = None
    ) -> None:
        """Keep what is known; `error` is one plain sentence where there is no reply."""
        self.stage = stage
        self.problem = problem
        self.error = error
        self.reply = reply
