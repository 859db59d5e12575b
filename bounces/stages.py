"""Which command a refusal answered, where a report shows it.

Guarantees: one of `banner`, `ehlo`, `mail`, `rcpt`, `dot` or `""`; linear in the texts. Mail
systems say it in words ("in reply to end of DATA command", "after RCPT TO", "my name was rejected")
or show the dialogue. It matters because a refusal before RCPT cannot be about the recipient, and
one after DATA rarely is about the address. What follows from it is `bounces.classify`'s business.
"""

from __future__ import annotations

import re
from typing import Final

_ANSWERED: Final = (
    r"(?:repl(?:y|ied)|response|respon(?:ded|ds)|answer(?:ed)?|error|refused) (?:to|after) "
)
_REFUSED: Final = r"[ \t]*\n[ \t]*(?:<<<|<--|out:|recv:|s:)?[ \t]*[45]\d\d\b"
# A stage, words one of which stands in whatever its expression takes (finding them costs little).
_SIGNS: Final = (
    (
        "dot",
        ("data", "text command", "smtp transmission"),
        re.compile(
            rf"{_ANSWERED}(?:the )?(?:end of )?data\b|\bend of data\b|\bafter data\b"
            r"|\b(?:data|text) command"
            r"|smtp transmission failure"  # Oracle's servers; "rejected address" at RCPT
            r"|^[ \t]*(?:>>>|in:|-->)?[ \t]*data[ \t]*$",
            re.MULTILINE,
        ),
    ),
    (
        "mail",
        ("mail from", "mail_from", "mail command", "sender was"),
        re.compile(
            rf"{_ANSWERED}(?:the )?mail (?:from|command)|\bafter (?:pipelined )?mail from"
            rf"|\bsender was rejected\b|server rejected mail from|\[mail_from\]"
            rf"|\bmail from:[^\n]{{0,400}}{_REFUSED}"
        ),
    ),
    (
        "ehlo",
        ("ehlo", "helo", "name was"),
        re.compile(
            rf"{_ANSWERED}(?:the )?(?:ehlo|helo)\b|\bafter (?:ehlo|helo)\b|\bname was rejected\b"
            rf"|\b(?:ehlo|helo)\b[^\n]{{0,300}}{_REFUSED}"
        ),
    ),
    (
        "banner",
        ("refused to talk", "greeting", "initial connection"),
        re.compile(
            r"refused to talk to (?:me|us)|greeting failed|after initial connection"
            r"|but greeting|instead of (?:a )?greeting"
        ),
    ),
)


def stage_of(*texts: str) -> str:
    """Say what the refusal answered; the first text that shows it decides.

    A dialogue that got as far as RCPT is about RCPT unless its words say otherwise.
    """
    for text in texts:
        lowered = text.lower()
        if "rcpt" in lowered:
            return "rcpt"
        for stage, stems, sign in _SIGNS:
            if any(stem in lowered for stem in stems) and sign.search(lowered):
                return stage
    return ""
