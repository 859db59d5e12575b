"""DKIM signers, opened once per key: loading a key costs as much as a hundred signatures."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable

from relay.delivery.dkim import Signer
from relay.settings import DkimKey, SendingDomain

_log = logging.getLogger(__name__)

_MAX_SIGNERS = 10_000


class Signers:
    """Gives the signers of a sending domain; bounded, least recently used goes first."""

    def __init__(self, unseal: Callable[[str, DkimKey], bytes]) -> None:
        """Take what opens a sealed private key of a domain (PKCS#8 DER; raises ValueError)."""
        self._unseal = unseal
        self._signers: OrderedDict[tuple[str, str, bytes], Signer] = OrderedDict()

    def of(self, domain: SendingDomain) -> list[Signer]:
        """Give one signer per active key, RSA last; a key that cannot be opened is passed over."""
        signers = (self._signer(domain.name, key) for key in domain.dkim if key.active)
        return sorted((one for one in signers if one is not None), key=lambda one: one.algorithm)

    def _signer(self, domain: str, key: DkimKey) -> Signer | None:
        name = (domain, key.selector, key.sealed)
        signer = self._signers.get(name)
        if signer is None:
            try:
                signer = Signer(domain, key.selector, self._unseal(domain, key))
            except ValueError as problem:
                _log.error("DKIM key %s of %s cannot be opened: %s", key.selector, domain, problem)
                return None
            self._signers[name] = signer
            if len(self._signers) > _MAX_SIGNERS:
                self._signers.popitem(last=False)
        else:
            self._signers.move_to_end(name)
        return signer
