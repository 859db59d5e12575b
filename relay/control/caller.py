"""Who asks: the operator at the machine, or an API key with scopes, bound to an account or not.

Guarantees: the two questions every operation asks, "may you?" and "is this yours?", are answered
here and nowhere else. What is not the caller's looks exactly like what does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from relay.errors import ForbiddenError, NotFoundError


class Scope(StrEnum):
    """What a key may be used for. `admin` includes all others."""

    NONE = "none"  # needs no key
    SEND = "send"  # hand in mail over HTTP
    READ = "read"  # settings, statistics, lists
    WRITE = "write"  # change settings and lists of its account
    ADMIN = "admin"  # accounts, keys and what concerns the whole node


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One who asks. `account` None means all accounts; `domains` empty means all its domains."""

    name: str  # as the audit log writes it
    scopes: frozenset[Scope]
    account: int | None = None
    domains: frozenset[str] = frozenset()

    def demand(self, scope: Scope) -> None:
        """Raise ForbiddenError unless the key may be used for this."""
        if scope is Scope.NONE or scope in self.scopes or Scope.ADMIN in self.scopes:
            return
        raise ForbiddenError(f'this needs a key with the scope "{scope.value}"')

    def demand_all_accounts(self) -> None:
        """Raise ForbiddenError for a key bound to an account: this concerns the whole node."""
        if self.account is not None:
            raise ForbiddenError("this concerns all accounts; the key is bound to one")

    def demand_all_domains(self) -> None:
        """Raise ForbiddenError for a key bound to domains: this concerns the whole account."""
        if self.domains:
            raise ForbiddenError("this concerns the whole account; the key is bound to domains")

    def sees(self, account: int | None, domain: str = "") -> bool:
        """Tell whether something of this account (None: of the node) and domain is visible."""
        if self.account is not None and account != self.account:
            return False
        return not (domain and self.domains) or domain in self.domains

    def own(self, what: str, account: int | None, domain: str = "") -> None:
        """Raise NotFoundError unless it is visible; `what` names it, as in "no such domain"."""
        if not self.sees(account, domain):
            raise NotFoundError(f"there is no such {what}")


OPERATOR = Caller(name="operator", scopes=frozenset({Scope.ADMIN}))
"""Whoever reaches the admin socket or the ledger's files: the operator of this machine."""
