"""Judges a run by its ledger, the sink's record and the relay's figures (crash-tests, section 2).

I1 lost        acknowledged, and neither arrived nor returned nor still waiting: none
I2 unexpected  arrived and never tried: none
I3 duplicated  extra arrivals of one recipient: at most what kills and ambiguous replies allow
I4 recovered   arrived, never acknowledged: allowed, counted
I5 integrity   what arrived is what was submitted, behind our own header fields; own tokens only
I6 events      the relay's counts are what ledger and sink say
I7 bounded     memory, descriptors, tasks and lag of the workers stay below a budget (bounds.py)

Everything is by recipient. A message taken by the sink without telling (its connection dropped
after the dot) has arrived; it may rightly arrive again, once for each time.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from relay.sandbox.sink import Got
from tests.harness.ledger_file import Tried
from tests.harness.mails import recipient_id

OWN_FIELDS = frozenset(
    {"received", "dkim-signature", "list-unsubscribe", "list-unsubscribe-post", "feedback-id",
     "return-path", "cfbl-address", "x-waypost-message", "x-waypost-delivery"}
)  # fmt: skip
_FIELD = re.compile(rb"([!-9;-~]+):")
_TOKEN = re.compile(rb"https?://[^/\s]+/[cou]/([A-Za-z0-9_-]{60,})")  # not within a signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a run may show without breaking a promise."""

    duplicates: int = 0  # deliveries claimed and not yet committed at the kills, summed
    returned: frozenset[str] = frozenset()  # recipients that were refused for good
    waiting: frozenset[str] = frozenset()  # recipients that are still queued


@dataclass
class Findings:
    """What the checker found; empty lists are good news."""

    tried: int = 0
    acknowledged: int = 0
    arrived: int = 0
    recovered: int = 0
    uncertain: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)  # one entry for each extra arrival
    damaged: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    unbounded: list[str] = field(default_factory=list)
    allowed_duplicates: int = 0

    @property
    def broken(self) -> list[str]:
        """Name the broken invariants with an example each."""
        found = {
            "I1 lost": self.lost,
            "I2 unexpected": self.unexpected,
            "I5 integrity": self.damaged,
            "I6 events": self.miscounted,
            "I7 bounded": self.unbounded,
        }
        if len(self.duplicated) > self.allowed_duplicates:
            found["I3 duplicated"] = self.duplicated
        return [f"{name}: {len(what)}, such as {what[0]}" for name, what in found.items() if what]

    @property
    def summary(self) -> dict[str, int]:
        """Give the figures of the run."""
        return {
            "tried": self.tried,
            "acknowledged": self.acknowledged,
            "arrived": self.arrived,
            "recovered": self.recovered,
            "lost": len(self.lost),
            "unexpected": len(self.unexpected),
            "duplicated": len(self.duplicated),
            "uncertain": self.uncertain,
            "damaged": len(self.damaged),
        }


def check(tried: Tried, got: Sequence[Got], allowance: Allowance | None = None) -> Findings:
    """Check I1 to I4 once the queue has drained."""
    allowance = allowance or Allowance()
    in_whole = [g for g in got if g.taken or g.uncertain]
    arrived = Counter(recipient for g in in_whole for recipient in g.recipients)
    uncertain = Counter(r for g in in_whole if g.uncertain for r in g.recipients)
    known = tried.addresses(tried.recipients)
    acknowledged = tried.addresses(tried.acknowledged)
    unsure = tried.addresses(tried.indeterminate)
    extra = {who: n - 1 - uncertain[who] for who, n in arrived.items()}
    return Findings(
        tried=len(known),
        acknowledged=len(acknowledged),
        arrived=len(arrived),
        recovered=len(set(arrived) & unsure),
        uncertain=sum(uncertain.values()),
        lost=sorted(acknowledged - set(arrived) - allowance.returned - allowance.waiting),
        unexpected=sorted(set(arrived) - acknowledged - unsure),
        duplicated=sorted(who for who, n in extra.items() for _ in range(max(0, n))),
        allowed_duplicates=allowance.duplicates,
    )


def check_contents(
    got: Sequence[Got],
    bodies: Sequence[bytes],
    submitted: Mapping[str, bytes],
    *,
    restore: Callable[[bytes], bytes] = lambda body: body,
) -> list[str]:
    """Check I5, naming what is damaged; `submitted` is by message id, `restore` undoes tracking."""
    damaged = []
    owners: dict[int, str] = {}
    for one, body in zip(got, bodies, strict=True):
        for recipient in one.recipients:
            name = recipient_id(recipient)
            if name is None or name[0] not in submitted:
                continue  # I2 tells of it
            problem = difference(restore(body), submitted[name[0]])
            problem = problem or _strange_tokens(body, recipient, owners)
            if problem:
                damaged.append(f"{recipient}: {problem}")
    return damaged


def difference(delivered: bytes, submitted: bytes) -> str:
    """Say how a delivered message differs from the submitted octets behind header fields of ours;
    "" if it does not.
    """
    if not delivered.endswith(submitted):
        return "the submitted octets are not the end of what arrived"
    added = delivered[: len(delivered) - len(submitted)]
    if added and not added.endswith(b"\r\n"):
        return "what was put in front is not whole lines"
    for line in added.split(b"\r\n")[:-1]:
        if line[:1] in (b" ", b"\t"):
            continue
        found = _FIELD.match(line)
        if found is None or found[1].decode().lower() not in OWN_FIELDS:
            return f"a line was added that is no header field of ours: {line[:80]!r}"
    return ""


def tokens_of(body: bytes) -> set[int]:
    """Give the delivery ids in the tracking tokens of a message (7-bit bodies; soft line breaks
    are joined).
    """
    found = set()
    for token in _TOKEN.findall(body.replace(b"=\r\n", b"")):
        head = base64.urlsafe_b64decode(token[:60])
        found.add(int.from_bytes(head[3:11], "big"))
    return found


def _strange_tokens(body: bytes, recipient: str, owners: dict[int, str]) -> str:
    ids = tokens_of(body)
    if len(ids) > 1:
        return f"tokens of {len(ids)} deliveries in one message"
    for delivery in ids:
        if owners.setdefault(delivery, recipient) != recipient:
            return f"it carries the tokens of {owners[delivery]}"
    return ""


def check_counts(
    tried: Tried,
    findings: Findings,
    counts: Mapping[str, int],
    returned: frozenset[str] = frozenset(),
) -> list[str]:
    """Check I6: `counts` has accepted, delivered (recipients) and bounced, as the relay's
    statistics give them; `returned` are the recipients that the next hop refuses for good.

    Recipients whose submission broke off may or may not have been accepted; whatever was accepted
    must have ended.
    """
    wrong = []
    sure = tried.addresses(tried.acknowledged)
    unsure = tried.addresses(tried.indeterminate)
    least, most = len(sure), len(sure) + len(unsure)
    if not least <= counts["accepted"] <= most:
        wrong.append(f"accepted is {counts['accepted']}; the ledger says {least} to {most}")
    if counts["delivered"] != findings.arrived:
        wrong.append(f"delivered is {counts['delivered']}; the sink has {findings.arrived}")
    least, most = len(returned & sure), len(returned & (sure | unsure))
    if not least <= counts["bounced"] <= most:
        wrong.append(f"bounced is {counts['bounced']}; {least} to {most} were refused for good")
    if counts["accepted"] != counts["delivered"] + counts["bounced"]:
        wrong.append(f"accepted is not delivered and bounced together: {dict(counts)}")
    return wrong


def refused_for_good(addresses: Iterable[str]) -> frozenset[str]:
    """Give the recipients whose address names a permanent refusal."""
    return frozenset(a for a in addresses if re.search(r"(?:^|@)5\d\d-(?:rcpt|data|dot)", a))
