"""How a receiving server misbehaves, written into the recipient's address: `451-data.sink.test`,
`slow-dot300@sink.test`.

A fault is named by the first label of the domain or by the beginning of the local part; the same
names work for both, so one sink serves every case of a table. Names (`<stage>` is mail, rcpt, data
or dot; `<n>` a number):

`<code>-<stage>`     reply with that code at that stage, always
`defer<n>-<stage>`   reply 451 there on the first n tries for this recipient, then take the mail
                     (`<stage>` may be left out: rcpt)
`drop-at-<stage>`    close the connection instead of answering
`drop-before-dot`    close it in the middle of the data
`drop-after-dot`     take everything, record it, close without an answer: nobody can know whether
                     it arrived
`rst-<stage>`        the same as drop, with a reset
`drop<n>-...`, `rst<n>-...`  the same on the first n tries for this recipient only
`slow-<stage><n>`    answer n milliseconds late (1000 without a number; without a stage: dot)

A recipient sees no MAIL stage of its own: `mail` faults are for the table that a test gives to the
server by hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """Where in the dialogue something happens."""

    BANNER = "banner"
    EHLO = "ehlo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class How(Enum):
    """What the server does instead of, or before, its usual answer."""

    REPLY = "reply"
    DROP = "drop"
    RESET = "reset"
    CUT = "cut"  # in the middle of the data
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to misbehave at one stage; `tries` of 0 means always, `seconds` belongs to SLOW."""

    how: How
    stage: Stage
    reply: str = ""
    tries: int = 0
    seconds: float = 0.0


_TEXTS = {
    421: "4.3.2 Closing, come back later",
    450: "4.2.0 Mailbox is busy",
    451: "4.7.1 Greylisted, come back later",
    452: "4.2.2 Mailbox is full",
    550: "5.1.1 No such user here",
    552: "5.2.2 Mailbox is full",
    554: "5.7.1 Refused by policy",
}
_STAGE = r"(?P<stage>mail|rcpt|data|dot)"
_NAMES = re.compile(
    rf"(?:(?P<code>[45]\d\d)-{_STAGE}"
    rf"|defer(?P<tries>\d{{0,3}})(?:-{_STAGE.replace('stage', 'later')}(?![a-z]))?"
    rf"|drop(?P<drops>\d{{0,3}})-(?:at-{_STAGE.replace('stage', 'drop')}"
    r"|(?P<cut>before-dot)|after-dot)"
    rf"|rst(?P<resets>\d{{0,3}})-{_STAGE.replace('stage', 'rst')}"
    rf"|slow(?:-{_STAGE.replace('stage', 'slow')})?(?P<ms>\d{{0,6}}))(?![a-z])"
)


def text_for(code: int) -> str:
    """Give a reply line with an enhanced code (RFC 3463) for a code."""
    return f"{code} {_TEXTS.get(code, f'{code // 100}.0.0 Refused as the address asks')}"


def fault_of(address: bytes) -> Fault | None:
    """Read the fault that an envelope address names, in its local part or its domain; None when it
    names none.
    """
    local, _, domain = address.decode("utf-8", "replace").lower().rpartition("@")
    return named(local) or named(domain.partition(".")[0])


def named(name: str) -> Fault | None:
    """Read one fault name; None when it is none."""
    found = _NAMES.match(name)
    if found is None:
        return None
    part = found.groupdict()
    if part["code"]:
        return Fault(how=How.REPLY, stage=Stage(part["stage"]), reply=text_for(int(part["code"])))
    if part["tries"] is not None:
        stage = Stage(part["later"] or "rcpt")
        return Fault(how=How.REPLY, stage=stage, reply=text_for(451), tries=int(part["tries"] or 1))
    if part["ms"] is not None:
        stage = Stage(part["slow"] or "dot")
        return Fault(how=How.SLOW, stage=stage, seconds=int(part["ms"] or 1000) / 1000)
    if part["rst"]:
        return Fault(how=How.RESET, stage=Stage(part["rst"]), tries=int(part["resets"] or 0))
    tries = int(part["drops"] or 0)
    if part["cut"]:
        return Fault(how=How.CUT, stage=Stage.DATA, tries=tries)
    return Fault(how=How.DROP, stage=Stage(part["drop"] or "dot"), tries=tries)
