"""An SMTP reply as a value: code, enhanced code, text, whoever said it.

Guarantees bounded, printable-safe fields; parsing bytes off a socket is the client engine's work.
"""

from __future__ import annotations

import re

import msgspec

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=$|[\s:,;)\]])")


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """One reply (RFC 5321 section 4.2): `code` 200-599, `enhanced` (RFC 3463) or "", `text`
    without line ends.
    """

    code: int
    enhanced: str = ""
    text: str = ""

    @property
    def is_positive(self) -> bool:
        """Tell whether the command was accepted (2xx or 3xx)."""
        return 200 <= self.code < 400

    @property
    def is_temporary(self) -> bool:
        """Tell whether trying later may help (4xx)."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """Tell whether the same command will be refused again (5xx)."""
        return 500 <= self.code < 600

    def __str__(self) -> str:
        """Give the reply on one line, as logs and reports show it."""
        if self.enhanced and self.text:  # nearly always
            return f"{self.code} {self.enhanced} {self.text}"
        return f"{self.code} {self.enhanced or self.text}".rstrip(" ")


def read_reply(code: int, text: str) -> Reply:
    """Build a reply from a code and its joined text lines, taking the enhanced code off the front.

    The basic code wins where the two disagree (smtp-security section 7): an enhanced code of
    another class is kept in the text only.
    """
    found = _ENHANCED.match(text)
    if found and int(found[1]) == code // 100:
        return Reply(code, found[0], text[found.end() :].strip(" :-"))
    return Reply(code, "", text.strip())
