"""One mail on its way through a session, and why a session ended: the notes that the engine takes.

Values filled in by `engine.py` alone; `attempt.py` turns them into an `Outcome`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from relay.delivery.outgoing import Outgoing, Problem, Stage
from relay.delivery.replies import RawReply
from relay.delivery.transcript import Transcript


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


class Transaction(msgspec.Struct, kw_only=True, eq=False):
    """One mail on its way: filled in by the engine, handed to `done` when nothing more will happen
    to it.
    """

    mail: Outgoing
    done: Callable[[Transaction], None]
    log: Transcript
    began: float
    content: bytes = b""  # stuffed, with the final dot
    mail_line: bytes = b""
    rcpt_line: bytes = b""
    ended: float = 0.0
    stage: Stage = Stage.MAIL
    reply: RawReply | None = None  # the refusal, or the answer to the final dot
    problem: Problem | None = None
    enhanced: str = ""  # with `error`: the RFC 3463 code of what we found ourselves
    error: str = ""
    dot_written: bool = False
    touched: bool = False  # the server has answered something about it
    ambiguous: bool = False

    @property
    def delivered(self) -> bool:
        """Tell whether the server took the message."""
        return self.problem is None and self.reply is not None and self.stage is Stage.DOT

    def break_off(self, why: Failure, *, asked: bool) -> None:
        """Note that the session ended; `asked` where the answer about this mail was awaited next.

        A problem that is known already stays, unless the dialogue was out of step: then no reply
        can be believed.
        """
        if self.problem is not None and why.problem is not Problem.PROTOCOL:
            return
        if asked:
            self.stage, self.problem = why.stage, why.problem
            self.error, self.reply = why.error, why.reply
        else:
            self.problem, self.reply = Problem.LOST, None
            self.error = why.error or "the server ended the session before this mail"
        self.ambiguous = self.dot_written and self.reply is None
