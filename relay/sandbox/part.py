"""What a recipient's local part makes it do, at addresses under `*.sandbox.test` (and
`sandbox.test` itself).

Guarantees: an address names exactly one part, by its beginning, whatever follows (`open`, `open7`,
`open-ann`). Names of faults (faults.py) work too. Any other address accepts its mail and does
nothing.
"""

from __future__ import annotations

from enum import Enum

from relay.sandbox.faults import Fault, How, Stage, fault_of, text_for

DOMAIN = "sandbox.test"


class Part(Enum):
    """A part, by the beginning of the local part that asks for it."""

    ACCEPT = "accept"  # takes the mail and stays quiet, like every name that is not in this list
    DEFER = "defer"  # 451 at RCPT on the first tries: "defer2" twice, without a number once
    BOUNCE = "bounce"  # 550 5.1.1 at RCPT: nobody here
    SOFT_BOUNCE = "softbounce"  # 552 5.2.2 at RCPT: the mailbox is full
    HARD_BOUNCE_LATER = "hardbounce-later"  # takes the mail, then a report says 5.1.1
    BOUNCE_LATER = "bounce-later"  # the same
    SOFT_BOUNCE_LATER = "softbounce-later"  # takes the mail, then a report says 5.2.2
    COMPLAIN = "complain"  # a complaint in the abuse reporting format (RFC 5965)
    OPEN = "open"  # loads the pixel
    CLICK = "click"  # loads the pixel and follows the first links
    UNSUBSCRIBE = "unsubscribe"  # posts the one-click form (RFC 8058)
    AUTOREPLY = "autoreply"  # is away, and says so


_LONGEST_FIRST = sorted(Part, key=lambda part: -len(part.value))


def acts(address: bytes) -> bool:
    """Tell whether an address lies where recipients act."""
    domain = address.rpartition(b"@")[2].decode("utf-8", "replace").lower().rstrip(".")
    return domain == DOMAIN or domain.endswith("." + DOMAIN)


def part_of(address: bytes) -> Part:
    """Read the part of an address; ACCEPT where it names none or lies elsewhere."""
    if not acts(address):
        return Part.ACCEPT
    local = address.rpartition(b"@")[0].decode("utf-8", "replace").lower()
    return next((part for part in _LONGEST_FIRST if local.startswith(part.value)), Part.ACCEPT)


def refusal_of(address: bytes) -> Fault | None:
    """Give what a server answers to this recipient instead of taking its mail; None: takes it."""
    if not acts(address):
        return None
    match part_of(address):
        case Part.BOUNCE:
            return Fault(how=How.REPLY, stage=Stage.RCPT, reply=text_for(550))
        case Part.SOFT_BOUNCE:
            return Fault(how=How.REPLY, stage=Stage.RCPT, reply=text_for(552))
        case Part.DEFER:
            once = Fault(how=How.REPLY, stage=Stage.RCPT, reply=text_for(451), tries=1)
            return fault_of(address) or once
        case _:
            return fault_of(address)
