"""The first start: one account, one credential and one sending domain to try the relay with.

Guarantees: nothing is made where an account exists; the password is returned once and kept only
as a hash.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

ACCOUNT = "main"
DOMAIN = "example.test"


class Asks(Protocol):
    """The way to control's operations (`relay.cli.door.Door` fits)."""

    def ask(
        self, method: str, path: str, body: dict[str, object] | None = None
    ) -> dict[str, object]:
        """Carry out one operation."""
        ...


class FirstCredential(NamedTuple):
    """What the first application logs in with; shown once."""

    login: str
    password: str


def first_start(door: Asks) -> FirstCredential | None:
    """Prepare an empty installation; None where somebody was here already."""
    accounts = door.ask("GET", "/accounts")
    if accounts["items"]:
        return None
    account = door.ask("POST", "/accounts", {"name": ACCOUNT})
    door.ask("POST", "/domains", {"account": account["id"], "name": DOMAIN})
    made = door.ask("POST", "/credentials", {"account": account["id"]})
    credential = made["credential"]
    if not isinstance(credential, dict):
        raise TypeError("a credential was expected")
    return FirstCredential(str(credential["login"]), str(made["password"]))
