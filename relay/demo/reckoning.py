"""What the demo's figures must be, from what was submitted, received and played alone; and whether
the relay reports the same.

Nothing here asks the relay. The figures are per sending domain and add up: submitted = delivered +
bounced hard + bounced soft, where a delivery that bounced later counts as bounced.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser

from relay.demo.mails import Mail
from relay.sandbox.actor import Played
from relay.sandbox.sink import Got

MEASURES = (
    "submitted",
    "delivered",
    "bounced_hard",
    "bounced_soft",
    "opens",
    "opens_unique",
    "clicks",
    "clicks_unique",
    "unsubscribes",
    "complaints",
)
_CONTROL = re.compile(rb"(?im)^X-Waypost-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
_OUR_FIELDS = frozenset(
    {b"received", b"dkim-signature", b"feedback-id", b"list-unsubscribe", b"list-unsubscribe-post"}
)


@dataclass(slots=True)
class Figures:
    """The figures of one sending domain."""

    counts: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, int]:
        """Give every measure, zeros included."""
        return {name: self.counts[name] for name in MEASURES}


@dataclass(slots=True)
class Reckoning:
    """Everything that can be known without asking the relay."""

    domains: dict[str, Figures]
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # untracked mails that are not the same bytes
    misled: list[str] = field(default_factory=list)  # clicks that led elsewhere
    failed: list[str] = field(default_factory=list)  # acts that a door refused


def reckon(
    mails: Sequence[Mail], got: Sequence[Got], bodies: Sequence[bytes], played: Sequence[Played],
    untracked: str,
) -> Reckoning:  # fmt: skip
    """Work out the figures from the records of driver, sink and players."""
    domain_of = {r: mail.sending_domain for mail in mails for r in mail.recipients}
    mail_of = {r: mail for mail in mails for r in mail.recipients}
    found = Reckoning({domain: Figures() for domain in set(domain_of.values())})
    for domain in domain_of.values():
        found.domains[domain].counts["submitted"] += 1
    bounced = _bounced(played)
    arrived = Counter(r for one in got if one.taken for r in one.recipients)
    for recipient, domain in domain_of.items():
        counts = found.domains[domain].counts
        if recipient in bounced:
            counts["bounced_hard" if bounced[recipient].startswith("5.1") else "bounced_soft"] += 1
        elif arrived[recipient]:
            counts["delivered"] += 1
        else:
            found.lost.append(recipient)
        if arrived[recipient] > 1:
            found.duplicated.append(recipient)
    found.unexpected = [r for r in arrived if r not in domain_of]
    _count_acts(found, played, domain_of, mail_of)
    for one, body in zip(got, bodies, strict=True):
        for recipient in one.recipients:
            mail = mail_of.get(recipient)
            if mail is None or not one.taken or mail.sending_domain != untracked:
                continue
            if not is_untouched(mail.content, body):
                found.changed.append(recipient)
    return found


def is_untouched(submitted: bytes, delivered: bytes) -> bool:
    """Tell whether a delivered mail is the submitted bytes behind our own header fields.

    The control fields are taken out of what was submitted: the one documented exception.
    """
    header, blank, body = submitted.partition(b"\r\n\r\n")
    expected = _CONTROL.sub(b"", header + b"\r\n") + blank[2:] + body
    if not delivered.endswith(expected):
        return False
    added = delivered[: len(delivered) - len(expected)]
    names = re.findall(rb"(?m)^([^\s:]+):", added)
    return all(name.lower() in _OUR_FIELDS for name in names)


def _bounced(played: Iterable[Played]) -> dict[str, str]:
    return {one.recipient: one.status for one in played if one.what == "bounced" and one.done}


def _count_acts(
    found: Reckoning,
    played: Sequence[Played],
    domain_of: Mapping[str, str],
    mail_of: Mapping[str, Mail],
) -> None:
    names = {"opened": "opens", "clicked": "clicks", "unsubscribed": "unsubscribes",
             "complained": "complaints"}  # fmt: skip
    unique: set[tuple[str, str]] = set()
    for one in played:
        if one.what not in names:
            continue
        if not one.done:
            found.failed.append(f"{one.recipient} {one.what}: {one.reply}")
            continue
        name = names[one.what]
        counts = found.domains[domain_of[one.recipient]].counts
        counts[name] += 1
        if name in ("opens", "clicks") and (one.recipient, name) not in unique:
            unique.add((one.recipient, name))
            counts[f"{name}_unique"] += 1
        if name == "clicks" and one.location not in links_of(mail_of[one.recipient].content):
            found.misled.append(f"{one.recipient}: {one.location}")


def links_of(content: bytes) -> frozenset[str]:
    """Give the destinations in the HTML parts of a mail, as a browser reads them."""
    page = _Links()
    for part in message_from_bytes(content, policy=default).walk():
        if part.get_content_type() == "text/html" and not part.get_filename():
            page.feed(part.get_content())
    return frozenset(page.found)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
