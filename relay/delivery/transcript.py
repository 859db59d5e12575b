"""What was said in one attempt, for the person who must explain a failure.

Steps are kept as they came (bytes, moments); text is made only when somebody reads it. Secrets
never enter: AUTH lines are given masked by the engine. Remote text is shown escaped and bounded.
"""

from __future__ import annotations

import msgspec

MAX_STEPS = 60
MAX_SHOWN = 300  # characters of one step

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 256))}
_ESCAPES[ord("\\")] = "\\\\"


def printable(raw: bytes) -> str:
    """Show bytes as printable ASCII, the rest escaped, at most MAX_SHOWN characters."""
    return raw[:MAX_SHOWN].decode("latin-1").translate(_ESCAPES)[:MAX_SHOWN]


class Transcript(msgspec.Struct, eq=False):
    """The steps of one session, or of one transaction whose `session` is another transcript.

    `steps` holds (monotonic seconds, who, raw bytes); who is ">" for us, "<" for the remote, "*"
    for remarks.
    """

    session: Transcript | None = None
    steps: list[tuple[float, str, bytes]] = []
    dropped: int = 0

    def add(self, at: float, who: str, raw: bytes) -> None:
        """Keep one step; beyond MAX_STEPS only the number of dropped ones grows."""
        if len(self.steps) < MAX_STEPS:
            self.steps.append((at, who, raw))
        else:
            self.dropped += 1

    def note(self, at: float, text: str) -> None:
        """Keep a remark of ours; nothing for an empty one."""
        if text:
            self.add(at, "*", text.encode("ascii", "replace"))

    def lines(self) -> list[str]:
        """Give the steps as lines "+12 ms > MAIL FROM:<...>"; the times count from the first step
        of the part.
        """
        shown = [] if self.session is None else self.session.lines()
        start = self.steps[0][0] if self.steps else 0.0
        for at, who, raw in self.steps:
            ms = int((at - start) * 1000)
            for line in raw.strip(b"\r\n").split(b"\r\n"):
                shown.append(f"+{ms} ms {who} {printable(line)}")
        if self.dropped:
            shown.append(f"... {self.dropped} more steps")
        return shown

    def __str__(self) -> str:
        """Give the whole conversation, one line per step."""
        return "\n".join(self.lines())
