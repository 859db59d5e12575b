"""Will this message be tracked: account, sending domain and header, in the order of DESIGN section
4.
"""

from __future__ import annotations

import msgspec

from relay.acceptance.options import Options
from relay.settings import Account, SendingDomain, Switch, effective


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What tracking does to a message, and which level said so."""

    opens: bool
    clicks: bool
    opens_by: str
    clicks_by: str
    skipped: str = ""  # why a message that the switches track is not tracked after all


def decide(
    account: Account, domain: SendingDomain | None, options: Options, *, host_ok: bool = True
) -> Decision:
    """Settle opens and clicks, each on its own: a header turns off always, on only under
    `optional`. `host_ok` says whether the tracking host may be named in mail.
    """
    opens, opens_by = _settle(account, domain, "opens", options.opens)
    clicks, clicks_by = _settle(account, domain, "clicks", options.clicks)
    if (opens or clicks) and not host_ok:
        return Decision(
            opens=False, clicks=False, opens_by=opens_by, clicks_by=clicks_by,
            skipped="tracking-host-failed",
        )  # fmt: skip
    return Decision(opens=opens, clicks=clicks, opens_by=opens_by, clicks_by=clicks_by)


def _settle(
    account: Account, domain: SendingDomain | None, what: str, asked: bool | None
) -> tuple[bool, str]:
    switch, level = effective(account, domain, what)
    if switch is Switch.ON:
        return (False, "message") if asked is False else (True, level)
    if switch is Switch.OPTIONAL and asked is not None:
        return asked, "message"
    return False, level
