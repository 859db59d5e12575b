"""Who failed, where no status part says so: the sources in the order of their trust.

Guarantees: X-Failed-Recipients first (Exim, Google), then the notice written for people, then the
subject, then the returned copy; where the notice only speaks in sentences, an address that the copy
was addressed to is preferred. Names without a domain are completed from what else the report says.
Leaves to others: what is said about them (`bounces.compose`).
"""

from __future__ import annotations

import re
from typing import Final

from bounces import addresses
from bounces.anatomy import Mail, unword
from bounces.prose import Said, read_notice
from bounces.report import Returned
from bounces.status import Group

_CERTAIN_SHAPES: Final = ("list", "lead", "dialogue")
_VERP = re.compile(r"[+-]([^\s+=@<>]{1,64})=([\w-]+(?:\.[\w-]+)+)@")
_LOCAL_NAME = re.compile(
    r"(?:recipients?|users?|addresse?s?|accounts?)\b[^\n]{0,120}(?:\n[^\n]{1,120})?:\n+[ \t]*"
    r"<?([A-Za-z0-9][\w.-]{1,63})>?[ \t]*(?:\n|$)",
    re.IGNORECASE,
)
_LIST_ENDINGS: Final = ("-bounces", "-bounce", "-owner", "-admin", "-request", "-errors", "-return")


def recipients_of(mail: Mail, notice: str, returned: Returned) -> list[Said]:
    """Find the recipients of a report without a usable status part in its own words."""
    listed = [a for v in mail.fields.all("x-failed-recipients") for a in addresses.find_all(v)]
    if listed:
        found = {s.recipient.lower(): s for s in read_notice(notice, strangers=frozenset()).said}
        return [found.get(a.lower()) or Said(a) for a in listed]
    strangers = _strangers(mail)
    spoken = read_notice(notice, strangers=strangers)
    if spoken.said and spoken.shape in _CERTAIN_SHAPES:
        return spoken.said
    local = _local_name(mail, notice) if not spoken.said or spoken.shape == "sentence" else None
    if local is not None:
        return [local]
    if spoken.said:
        return _preferred(spoken.said, notice, returned)
    subject = unword(mail.fields.get("subject"))
    named = [a for a in addresses.find_all(subject) if a.lower() not in strangers]
    return [Said(named[0])] if len(named) == 1 else []


def _strangers(mail: Mail) -> frozenset[str]:
    """Give the addresses of the reporter and of whom it reports to, lists by both their names."""
    named = [
        a.lower()
        for name in ("to", "from", "delivered-to", "return-path")
        for a in addresses.find_all(mail.fields.get(name)[:2000])
    ]
    lists: list[str] = []
    for address in named:
        local, _, domain = address.rpartition("@")
        lists.extend(
            f"{local.removesuffix(ending)}@{domain}"
            for ending in _LIST_ENDINGS
            if local.endswith(ending)
        )
    return frozenset((*named, *lists))


def _preferred(said: list[Said], notice: str, returned: Returned) -> list[Said]:
    """Prefer the address that the copy went to, if the notice speaks of it."""
    to = [a.lower() for a in addresses.find_all(returned.to)]
    meant = [s for s in said if s.recipient.lower() in to]
    if meant:
        return meant
    sender = addresses.find(returned.sender).lower()
    lowered = notice.lower()
    spoken = [a for a in addresses.find_all(returned.to) if a.lower() in lowered]
    if len(spoken) == 1 and spoken[0].lower() != sender:
        return [Said(spoken[0], said[0].about)]
    return said


def _local_name(mail: Mail, notice: str) -> Said | None:
    """Read a name without a domain below "the following recipients:"; it is the reporter's user."""
    found = _LOCAL_NAME.search(notice)
    domain = addresses.find(mail.fields.get("from")).rpartition("@")[2]
    if found is None or not domain or "." not in domain:
        return None
    return Said(f"{found[1]}@{domain.lower()}", notice[found.start() : found.start() + 1500])


def last_resort(mail: Mail, returned: Returned) -> list[Said]:
    """Take the one recipient of the returned copy, or the one a VERP return path names."""
    sender = addresses.find(returned.sender).lower()
    named = [a for a in addresses.find_all(returned.to) if a.lower() != sender]
    if len(named) == 1:
        return [Said(named[0])]
    for name in ("to", "delivered-to", "x-original-to"):
        verp = _VERP.search(mail.fields.get(name)[:1000])
        if verp:
            return [Said(f"{verp[1]}@{verp[2]}")]
    return []


def of_group(group: Group, notice: str, returned: Returned, reporting_mta: str) -> tuple[str, str]:
    """Give the recipient of a status group and the address it came from (`""` if the same).

    A name or a domain only the last host knows gives way to the address that was mailed.
    """
    recipient, original = group.recipient, group.original
    if "." in recipient.rpartition("@")[2] and "@" in recipient:
        return recipient, "" if original.lower() == recipient.lower() else original
    if "." in original.rpartition("@")[2]:
        return original, recipient
    local = recipient.partition("@")[0].lower()
    for text in (notice, returned.to):
        for address in addresses.find_all(text[:8000]):
            if address.partition("@")[0].lower() == local and "." in address.rpartition("@")[2]:
                return address, recipient
    mailed = addresses.find_all(returned.to)
    if recipient.startswith("/") and len(mailed) == 1:  # an X.400 name of the one who was mailed
        return mailed[0], recipient
    if "@" not in recipient and "." in reporting_mta and "/" not in recipient:
        return f"{recipient}@{reporting_mta.split()[0].lower()}", recipient
    return recipient, original
