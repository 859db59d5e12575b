"""Reads every control field of a message: ours first, then those of the credential's one dialect.

Guarantees: order does not matter (headers reference, rule 4): what `X-Waypost-*` says wins over
the dialect, and within each the most restrictive value holds; fields of other dialects are removed
and noted, never applied.
"""

from __future__ import annotations

from relay.acceptance.dialects.fields import FIELDS, GENERAL, PREFIXES
from relay.acceptance.options import Options
from relay.acceptance.own_headers import PREFIX, read_own
from relay.clock import DAY
from relay.mail.header import Header

FURTHEST_SCHEDULE = 30 * DAY
_DIALECT_OF = {
    name: dialect for dialect, names in FIELDS.items() for name in names if name not in GENERAL
}
_PREFIX_OF = {prefix: dialect for dialect, prefix in PREFIXES.items()}
_BLIND = (b"bcc", b"resent-bcc")  # RFC 5322 sections 3.6.3 and 3.6.6
DIALECTS = ("waypost", *FIELDS)


def read_options(
    header: Header, dialect: str, now: int, furthest: int = FURTHEST_SCHEDULE
) -> Options:
    """Give what a message asks for, with the fields to take out; raises RefusedError.

    `now` is microseconds since the epoch, `furthest` how far ahead a message may be scheduled.
    """
    own, theirs = Options(), Options()
    known = FIELDS.get(dialect, {})
    for part, lowered in zip(header.fields, header.names, strict=True):
        if not lowered.startswith(b"x-"):
            if lowered in _BLIND:
                own.strip.append(part)
            continue
        if lowered.startswith(PREFIX):
            own.strip.append(part)
            key = lowered[len(PREFIX) :].decode("ascii", "replace")
            read_own(own, key, part.text.decode("utf-8", "replace"), now, furthest)
            continue
        name = lowered.decode("ascii", "replace")
        shown, value = part.name.decode("ascii", "replace"), part.text.decode("utf-8", "replace")
        prefix = next((p for p in _PREFIX_OF if name.startswith(p)), "")
        if name in known:
            theirs.strip.append(part)
            known[name](theirs, shown, value, now, furthest)
        elif prefix and _PREFIX_OF[prefix] == dialect:
            theirs.strip.append(part)
            theirs.put(shown, name.removeprefix(prefix), value)
        elif prefix or name in _DIALECT_OF:
            theirs.strip.append(part)
            other = _PREFIX_OF[prefix] if prefix else _DIALECT_OF[name]
            theirs.ignore(shown, f"this login speaks {dialect}, not {other}")
    return own.merged_over(theirs) if theirs.strip else own
