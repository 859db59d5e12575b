"""Lists: messages and their stories, suppressions, the queue.

Guarantees: what a list shows comes from outside (subjects, replies, addresses) and is written as
text alone; a deletion or a cancellation takes a form of this session's own page.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from relay.ledger.message_log import Stage
from relay.web.page.desk import Visit, seen_other

_SEARCHED = (
    "account",
    "recipient",
    "message",
    "message_id",
    "sending_domain",
    "campaign",
    "state",
    "cursor",
)


class Lists:
    """The pages of lists."""

    async def messages(self, visit: Visit) -> web.StreamResponse:
        """Search the message log."""
        found = await visit.ask("/deliveries", visit.query(*_SEARCHED))
        return visit.show(
            "messages.html",
            title="Messages",
            items=found["items"],
            following=found["next"],
            states=[one.value for one in Stage],
        )

    async def story(self, visit: Visit) -> web.StreamResponse:
        """Tell the story of a delivery."""
        name = quote(visit.request.match_info["delivery"], safe="")
        told = await visit.ask(f"/deliveries/{name}")
        return visit.show("story.html", title="Delivery", **told)

    async def suppressions(self, visit: Visit) -> web.StreamResponse:
        """Search suppressions."""
        asked = visit.query("account", "search", "scope", "within", "reason", "cursor")
        found = await visit.ask("/suppressions", asked)
        accounts = (await visit.ask("/accounts", [("limit", "500")]))["items"]
        return visit.show(
            "suppressions.html",
            title="Suppressions",
            items=found["items"],
            following=found["next"],
            accounts=accounts,
            names={one["id"]: one["name"] for one in accounts},
            done="done" in visit.request.query,
        )

    async def suppress(self, visit: Visit) -> web.StreamResponse:
        """Suppress an address."""
        account = visit.text("account")
        body = {
            "recipient": visit.text("recipient"),
            "account": int(account) if account.isdigit() and len(account) < 16 else None,
            "scope": visit.text("scope") or "account",
            "within": visit.text("within"),
            "note": visit.text("note"),
        }
        await visit.tell("POST", "/suppressions", body)
        return seen_other("/suppressions?done=1")

    async def send_again(self, visit: Visit) -> web.StreamResponse:
        """Lift a suppression."""
        await visit.tell("DELETE", f"/suppressions/{quote(visit.text('id'), safe='')}")
        return seen_other("/suppressions?done=1")

    async def queue(self, visit: Visit) -> web.StreamResponse:
        """Show what waits, by destination, and what is paused."""
        lines = await visit.ask("/queue", visit.query("account", "destination", "campaign"))
        pauses = await visit.ask("/pauses", [("limit", "500")])
        return visit.show(
            "queue.html",
            title="Queue",
            lines=lines["items"],
            silent=lines["silent"],
            pauses=pauses["items"],
            changed=visit.request.query.get("changed", ""),
        )

    async def change_queue(self, visit: Visit) -> web.StreamResponse:
        """Retry, hold, release or cancel what waits for a destination."""
        body = {"action": visit.text("action"), "destination": visit.text("destination")}
        answer = await visit.tell("POST", "/queue", body)
        return seen_other(f"/queue?changed={int(answer['changed'])}")

    async def pause(self, visit: Visit) -> web.StreamResponse:
        """Pause a destination."""
        await visit.tell("POST", "/pauses", {"kind": "destination", "value": visit.text("value")})
        return seen_other("/queue")

    async def resume(self, visit: Visit) -> web.StreamResponse:
        """Lift a pause."""
        await visit.tell("DELETE", f"/pauses/{quote(visit.text('id'), safe='')}")
        return seen_other("/queue")
