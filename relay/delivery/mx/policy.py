"""What must hold at a host: DANE where DNSSEC vouches for it, else MTA-STS, else nothing.

DANE (RFC 7672) counts only with validated answers for MX, address and TLSA. Where the TLSA answer
cannot be had although the rest is validated, mail waits: that is how a forged denial looks. MTA-STS
never overrides DANE (RFC 8461 section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.delivery.dane import is_usable
from relay.delivery.mx.lookup import Demand
from relay.delivery.mx.resolver import NoSuchNameError, Resolver
from relay.delivery.mx.sts import StsPolicies
from relay.delivery.route import TlsLevel


@dataclass(slots=True, kw_only=True)
class TlsPolicies:
    """Asks both. `port` is the one mail goes to."""

    resolver: Resolver
    sts: StsPolicies | None = None
    dane: bool = True
    port: int = 25

    async def demand(self, domain: str, host: str, *, validated: bool) -> Demand | None:
        """Give the demand on one host, None if mail must not go there; raises DnsTroubleError."""
        if self.dane and validated:
            demand = await self._by_dane(host)
            if demand is not None:
                return demand
        policy = await self.sts.policy(domain) if self.sts is not None else None
        if policy is None or policy.mode == "none":
            return Demand()
        if policy.mode == "testing":  # watched and counted, never in the way
            return Demand(policy="sts")
        if not policy.allows(host):
            return None
        return Demand(tls=TlsLevel.VERIFIED, policy="sts")

    async def _by_dane(self, host: str) -> Demand | None:
        try:
            records, validated = await self.resolver.tlsa(f"_{self.port}._tcp.{host}")
        except NoSuchNameError:
            return None
        if not records or not validated:
            return None
        usable = tuple(record for record in records if is_usable(record))
        # RFC 7672 section 2.2: records, but none that can be used, still means TLS
        return Demand(tls=TlsLevel.REQUIRED, policy="dane", tlsa=usable)
