"""Who may do what: every route is tried with a stranger's key, a reader's key and no key."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay.clock import now
from relay.control.caller import Scope
from relay.control.route import PREFIX, Route
from relay.control.services import NoWorkers
from relay.ids import to_text
from tests.harness.admin import AdminUnderTest, Facts, Reply, admin_under_test
from tests.harness.routes import all_routes

ROUTES = all_routes()
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("PATCH", "/accounts/{account}"): {"name": "taken over"},
    ("PATCH", "/domains/{domain}"): {"privacy": "aggregate"},
}


FOR_ANOTHER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/credentials", {"account": 1}),
    ("/domains", {"account": 1, "name": "new.test"}),
    ("/blocks", {"account": 1, "kind": "campaign", "value": "spring"}),
    ("/blocks", {"kind": "domain", "value": "shop.test"}),
    ("/pauses", {"account": 1, "kind": "account"}),
    ("/suppressions", {"account": 1, "recipient": "bob@inbox.test"}),
    ("/queue", {"account": 1, "action": "cancel", "everything": True}),
    ("/tracking", {"account": 1, "opens": "on"}),
    ("/tracking", {"domains": ["shop.test"], "opens": "on"}),
    ("/tracking", {"domains": ["other.test", "shop.test"], "opens": "on"}),
)


REQUIRED = "campaign=spring&group=delivered&"  # of the routes on audiences


def _query(one: Route) -> str:
    return "?" + (REQUIRED if "/audience" in one.path else "")


def _name(one: Route) -> str:
    return f"{one.method} {one.path.removeprefix(PREFIX)}"


@dataclass(slots=True)
class Two:
    """An account that has one of everything, and a stranger."""

    admin: AdminUnderTest
    values: dict[str, Any]  # of path parameters
    owner: str
    stranger: str


class OneWaits(NoWorkers):
    """Stands in for a worker in whose queue one message of account 1 waits."""

    def __init__(self, id_: int) -> None:
        """Take the message's id."""
        self._id = id_
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(
        self, name: str, args: dict[str, Any] | None = None, seconds: float = 10.0
    ) -> Mapping[int, Any]:
        """Answer as `relay.process.orders` does."""
        asked = args or {}
        self.asked.append((name, asked))
        del seconds
        if name == "queue.show" and asked["message"] == self._id:
            texts = {"subject": "spring", "sender": "", "campaign": "spring"}
            numbers = {"account": 1, "size": 1, "accepted_at": 1}
            return {0: {**texts, **numbers, "sending_domain": "shop.test", "deliveries": []}}
        if name == "queue.show":
            return {0: None}
        return {0: [] if name in ("queue.queues", "queue.waiting") else 0}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    """Make both."""
    async with admin_under_test(tmp_path) as admin:
        shop, other = await admin.account("Shop"), await admin.account("Other")
        entry = await admin.domain("shop.test", shop)
        await admin.domain("other.test", other)
        owner = await admin.key(shop, ["read", "write"])
        made: dict[str, Any] = {"account": shop, "domain": "shop.test", "key": 1, "operator": 1}
        made["selector"] = entry["dkim"][0]["selector"]
        for name, path, body in (
            ("credential", "/credentials", {}),
            ("block", "/blocks", {"kind": "campaign", "value": "spring"}),
            ("pause", "/pauses", {"kind": "campaign", "value": "spring"}),
            ("suppression", "/suppressions", {"recipient": "ann@inbox.test"}),
        ):
            answer = await admin.ask("POST", path, body, key=owner)
            assert answer.status == 201, answer.text
            made[name] = answer.json.get("id") or answer.json["credential"]["id"]
        facts = Facts(admin, [now()])
        await facts.send(facts.accepted())
        made["delivery"] = made["message"] = to_text(facts.delivery)
        admin.services.workers = OneWaits(facts.delivery)
        yield Two(admin, made, owner, await admin.key(other, ["read", "write"]))


async def _try(two: Two, one: Route, key: str) -> Reply:
    path = one.path.removeprefix(PREFIX)
    body = BODIES.get((one.method, path))
    for name in one.parameters:
        path = path.replace("{" + name + "}", str(two.values[name]))
    return await two.admin.ask(one.method, path, body, key=key)


async def test_a_stranger_finds_nothing(two: Two) -> None:
    """X09: ids of another account answer 404 (403 where the scope is the operator's)."""
    before = two.admin.services.publisher.version
    wrong = []
    for one in ROUTES:
        if one.parameters:
            answer = await _try(two, one, two.stranger)
            expected = 403 if one.scope is Scope.ADMIN else 404
            if answer.status != expected or "shop.test" in answer.text:
                wrong.append((_name(one), answer.status, answer.text))
    assert wrong == []
    assert two.admin.services.publisher.version == before


async def test_the_owner_does_find_it(two: Two) -> None:
    """The control of the test above: the same requests of the owner are carried out."""
    order = {"GET": 0, "POST": 1, "PATCH": 2, "DELETE": 3}
    own = [one for one in ROUTES if one.parameters and one.scope is not Scope.ADMIN]
    wrong = []
    for one in sorted(own, key=lambda one: (order[one.method], -len(one.path))):
        answer = await _try(two, one, two.owner)
        if answer.status >= 300 and answer.status != 409:  # a key in use is not destroyed
            wrong.append((_name(one), answer.status, answer.text))
    assert wrong == []


async def test_lists_show_a_stranger_nothing_of_others(two: Two) -> None:
    """No list, export or statistic names what belongs to another account."""
    for one in ROUTES:
        if one.method == "GET" and not one.parameters:
            path = one.path.removeprefix(PREFIX) + _query(one)
            answer = await two.admin.ask("GET", path, key=two.stranger)
            assert answer.status in (200, 403)
            assert not re.search(r"shop|spring|ann@inbox", answer.text, re.IGNORECASE), _name(one)


async def test_asking_for_another_account_by_its_id_is_404(two: Two) -> None:
    """A filter is no way around."""
    asked = [
        one
        for one in ROUTES
        if one.query is not None
        and one.method == "GET"
        and "account" in {field.name for field in msgspec.structs.fields(one.query)}
    ]
    assert len(asked) > 8
    for one in asked:
        path = one.path.removeprefix(PREFIX) + _query(one) + "account=1"
        assert (await two.admin.ask("GET", path, key=two.stranger)).status == 404, _name(one)


async def test_nothing_is_made_for_another_account(two: Two) -> None:
    """Naming another account, or its domain, in a body is a 404 and changes nothing."""
    before = two.admin.services.publisher.version
    for path, body in FOR_ANOTHER:
        answer = await two.admin.ask("POST", path, body, key=two.stranger)
        assert answer.status == 404, answer.text
    assert two.admin.services.publisher.version == before


async def test_workers_are_asked_for_the_callers_account_alone(two: Two) -> None:
    """Every question and order on the queue carries the key's account, whatever is asked for."""
    workers = OneWaits(7)
    two.admin.services.workers = workers
    for path in ("/queue", "/queue/campaigns", "/queue/deliveries"):
        assert (await two.admin.ask("GET", path, key=two.stranger)).status == 200
    for action in ("hold", "release", "retry", "cancel"):
        body = {"action": action, "campaign": "spring"}
        assert (await two.admin.ask("POST", "/queue", body, key=two.stranger)).status == 200
    assert [args["account"] for _, args in workers.asked] == [2] * 7
    body = {"action": "move", "campaign": "spring", "to": "elsewhere"}
    assert (await two.admin.ask("POST", "/queue", body, key=two.stranger)).status == 403
    body = {"action": "cancel"}
    assert (await two.admin.ask("POST", "/queue", body, key=two.owner)).status == 422
    for nonsense in ("x", "a" * 13, "%00"):
        assert (await two.admin.ask("GET", f"/queue/messages/{nonsense}")).status == 404


async def test_a_key_that_may_only_read_changes_nothing(two: Two) -> None:
    """Without the scope the answer is 403, before anything else is looked at."""
    reader = await two.admin.key(two.values["account"], ["read"])
    for one in ROUTES:
        if one.scope is not Scope.READ:
            assert (await _try(two, one, reader)).status == 403, _name(one)


async def test_without_a_key_there_is_nothing(two: Two) -> None:
    """No key, a wrong one, nonsense: 401 everywhere."""
    for one in ROUTES:
        for key in ("", "wpk_" + "a" * 52, "nonsense"):
            answer = await _try(two, one, key)
            assert answer.status == 401, _name(one)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_key_bound_to_a_domain_sees_that_domain_alone(two: Two) -> None:
    """It reads its domain and the domain's numbers, and nothing that is the account's."""
    shop = two.values["account"]
    await two.admin.domain("second.test", shop)
    key = await two.admin.key(shop, ["read", "write"], ["shop.test"])
    listed = (await two.admin.ask("GET", "/domains", key=key)).json["items"]
    assert [entry["name"] for entry in listed] == ["shop.test"]
    for path, status in (
        ("/domains/shop.test/stats", 200),
        ("/stats", 200),
        ("/stats?sending_domain=second.test", 404),
        ("/domains/second.test", 404),
        ("/domains/second.test/stats", 404),
        ("/credentials", 403),
        (f"/credentials/{two.values['credential']}", 404),
        ("/suppressions", 403),
        ("/audit", 403),
        ("/deliveries?sending_domain=second.test", 404),
        ("/audience?campaign=spring&group=delivered", 404),
        ("/audience?campaign=spring&group=delivered&sending_domain=shop.test", 200),
        (f"/deliveries/{two.values['delivery']}", 200),
    ):
        assert (await two.admin.ask("GET", path, key=key)).status == status, path
    found = (await two.admin.ask("GET", "/deliveries", key=key)).json["items"]
    assert [entry["sending_domain"] for entry in found] == ["shop.test"]
    beside = await two.admin.key(shop, ["read"], ["second.test"])
    assert (await two.admin.ask("GET", "/deliveries", key=beside)).json["items"] == []
    other = f"/deliveries/{two.values['delivery']}"
    assert (await two.admin.ask("GET", other, key=beside)).status == 404
    refused = await two.admin.ask("POST", "/tracking", {"opens": "on"}, key=key)
    assert refused.status == 403
    shown = await two.admin.ask("POST", "/tracking", {"domains": ["shop.test"], "opens": "on"},
                                key=key)  # fmt: skip
    assert shown.status == 200


async def test_a_revoked_or_expired_key_is_none(tmp_path: Path) -> None:
    """It stops working at once, without a restart."""
    moment = [1_800_000_000_000_000]
    async with admin_under_test(tmp_path, clock=lambda: moment[0]) as admin:
        key = await admin.key(None, ["read"])
        assert (await admin.ask("GET", "/accounts", key=key)).status == 200
        assert (await admin.ask("DELETE", "/api-keys/1")).json["revoked_at"]
        assert (await admin.ask("GET", "/accounts", key=key)).status == 401
        asked = {"name": "short", "scopes": ["read"], "expires_at": "2027-01-16T00:00:00Z"}
        key = (await admin.ask("POST", "/api-keys", asked)).json["key"]
        assert (await admin.ask("GET", "/accounts", key=key)).status == 200
        assert (await admin.ask("GET", "/api-keys/2")).json["used_at"]
        moment[0] += 2 * 86_400 * 1_000_000
        assert (await admin.ask("GET", "/accounts", key=key)).status == 401
