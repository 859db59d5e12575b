"""Gives a running relay what a test needs to submit: an account, logins, sending domains, switches.

Everything goes through the operator's API, as a person would do it, confirmations included.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from tests.harness.driver import Door
from tests.harness.relay_under_test import RelayUnderTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An account that can submit."""

    account: int
    login: str
    password: str


async def provision(
    relay: RelayUnderTest,
    *,
    tracked: tuple[str, ...] = (),
    untracked: tuple[str, ...] = (),
    any_sender: bool = True,
    passwordless: bool = False,
    unsubscribe: bool = True,
) -> Tenant:
    """Make an account with a login, domains of both kinds (all with DKIM keys), and an
    allow-listed client on loopback; with `any_sender` it may also send from domains that are not
    registered: unsigned, untracked.
    """
    account = await must(relay, "POST", "/accounts", {"name": "tenant", "any_sender": any_sender})
    number = account["id"]
    made = await must(relay, "POST", "/credentials", {"account": number, "login": "tenant"})
    if passwordless:
        listed = {"account": number, "networks": ["127.0.0.0/8"], "passwordless": True}
        await must(relay, "POST", "/credentials", listed)
    for name in (*tracked, *untracked):
        await must(relay, "POST", "/domains", {"name": name, "account": number})
        if unsubscribe and name in tracked:
            await must(relay, "PATCH", f"/domains/{name}", {"unsubscribe": True})
    if tracked:
        change = {"account": number, "domains": list(tracked), "opens": "on", "clicks": "on"}
        answer = await must(relay, "POST", "/tracking", change)
        await must(relay, "POST", "/tracking", {**change, "confirm": answer["confirm"]})
    return Tenant(account=number, login="tenant", password=made["password"])


async def must(relay: RelayUnderTest, method: str, path: str, body: object = None) -> Any:
    """Ask the API; raises AssertionError unless it says yes."""
    status, answer = await relay.ask(method, f"/api/v1{path}", body)
    if not 200 <= status < 300:
        raise AssertionError(f"{method} {path} is answered by {status} {answer}\n{relay.tail()}")
    return answer


def submission_door(relay: RelayUnderTest, tenant: Tenant, kind: str = "submission") -> Door:
    """Give the door to submit through: submission (STARTTLS), tls (implicit) or plain
    (allow-listed).
    """
    host, port = relay.address(kind)
    if kind == "plain":
        return Door(host=host, port=port)
    context = ssl.create_default_context()
    context.check_hostname = False  # the relay made its certificate itself
    context.verify_mode = ssl.CERT_NONE
    return Door(
        host=host,
        port=port,
        login=tenant.login,
        password=tenant.password,
        tls=context,
        starttls=kind == "submission",
    )
