"""The settings page: tracking switches with their second confirmation, domains, and the audit.

Guarantees: a switch moves only after the page has said what will happen and that was confirmed; the
code of control's own confirmation goes through the page, so that what is done is what was shown.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aiohttp import web

from relay.web.page.desk import Visit, seen_other

_OWN = ("", "on", "off", "optional", "inherit")
_ACCOUNT = ("", "on", "off", "optional")


class Settings:
    """The pages of settings."""

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Show accounts with their switches, and domains with theirs."""
        accounts = (await visit.ask("/accounts", [("limit", "500")]))["items"]
        asked = [*visit.query("account", "search", "cursor"), ("limit", "100")]
        domains = await visit.ask("/domains", asked)
        names = {one["id"]: one["name"] for one in accounts}
        return visit.show(
            "settings.html",
            title="Settings",
            accounts=accounts,
            names=names,
            domains=domains["items"],
            following=domains["next"],
            own=_OWN,
            of_account=_ACCOUNT,
            done="done" in visit.request.query,
        )

    async def change_tracking(self, visit: Visit) -> web.StreamResponse:
        """Say what a change of switches would do; with the code of that, do it."""
        body = _change(visit)
        answer = await visit.tell("POST", "/tracking", body)
        if answer["done"]:
            return seen_other("/settings?done=1")
        return visit.show(
            "confirm.html", title="Confirm the change", body=body, answer=answer, repeated=_fields
        )

    async def domain(self, visit: Visit) -> web.StreamResponse:
        """Show one domain with its DNS records."""
        address = f"/domains/{quote(visit.request.match_info['domain'], safe='')}"
        entry = await visit.ask(address)
        records = await visit.ask(f"{address}/dns")
        return visit.show(
            "domain.html",
            title="Domain",
            entry=entry,
            records=records["records"],
            pools=sorted({*visit.desk.services.domains.pools, entry["pool"]} - {""}),
            done="done" in visit.request.query,
        )

    async def change_domain(self, visit: Visit) -> web.StreamResponse:
        """Change a domain's tracking host, unsubscribe link, failure notices and pool."""
        name = quote(visit.request.match_info["domain"], safe="")
        body = {
            "tracking_url": visit.text("tracking_url"),
            "unsubscribe": visit.text("unsubscribe") == "yes",
            "failure_notices": visit.text("failure_notices") or None,
            "pool": visit.text("pool") if "pool" in visit.form else None,
        }
        await visit.tell("PATCH", f"/domains/{name}", body)
        return seen_other(f"/settings/domains/{name}?done=1")

    async def audit(self, visit: Visit) -> web.StreamResponse:
        """Show who changed what."""
        found = await visit.ask("/audit", visit.query("account", "action", "subject", "cursor"))
        return visit.show(
            "audit.html", title="Audit", items=found["items"], following=found["next"]
        )


def _change(visit: Visit) -> dict[str, Any]:
    """Read a change of switches from a form, first or second time."""
    account = visit.text("account")
    return {
        "account": int(account) if account.isdigit() and len(account) < 16 else None,
        "domains": visit.texts("domain"),
        "opens": visit.text("opens") or None,
        "clicks": visit.text("clicks") or None,
        "reset": visit.text("reset") == "yes",
        "confirm": visit.text("confirm"),
    }


def _fields(body: dict[str, Any], *, reset: bool, confirm: str) -> list[tuple[str, str]]:
    """Give the hidden fields that ask for the same change again."""
    fields = [(name, str(body[name])) for name in ("account", "opens", "clicks") if body[name]]
    fields += [("domain", name) for name in body["domains"]]
    if reset:
        fields.append(("reset", "yes"))
    if confirm:
        fields.append(("confirm", confirm))
    return fields
