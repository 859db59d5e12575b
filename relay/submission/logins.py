"""Who a client is, by the credentials in the settings.

Guarantees: an unknown login takes as long as a wrong password and gives the same answer; a
credential that is revoked, moved or suspended meanwhile ends its open sessions' rights at the next
MAIL; nothing here touches a disk.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable

from relay.settings import Credential, Settings
from relay.submission.envelope import MailSession

_NOBODY = hashlib.sha256(b"").digest()


class Login:
    """A credential in use on one connection."""

    __slots__ = ("_found_good_in", "_settings", "credential")

    def __init__(self, credential: Credential, settings: Callable[[], Settings]) -> None:
        """Take the credential, and where the settings in force come from."""
        self.credential = credential
        self._settings = settings
        self._found_good_in = -1  # a version; the settings themselves would stay in memory

    def still_valid(self) -> bool:
        """Tell whether the credential and its account may still send."""
        settings = self._settings()
        if settings.version == self._found_good_in:  # what a version says never changes
            return True
        if self._may_send(settings):
            self._found_good_in = settings.version
            return True
        return False

    def _may_send(self, settings: Settings) -> bool:
        now = settings.credentials.get(self.credential.login)
        if now is None or now.revoked or now.secret_sha256 != self.credential.secret_sha256:
            return False
        account = settings.accounts.get(now.account)
        return account is not None and not account.suspended


class Logins:
    """The authenticator of a submission door; `settings` gives the version in force."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Take where the settings come from."""
        self._settings = settings

    async def authenticate(
        self, _mechanism: str, login: bytes, password: bytes, session: MailSession
    ) -> Login | None:
        """Compare a generated secret (128 random bits or more, so SHA-256 is enough)."""
        name = login.decode("utf-8", "replace")
        credential = self._settings().credentials.get(name)
        given = hashlib.sha256(password).digest()
        expected = credential.secret_sha256 if credential is not None else _NOBODY
        matches = hmac.compare_digest(given, expected)
        if credential is None or not matches:
            return None
        if credential.networks and not _comes_from(session.peer_address, credential.networks):
            return None
        entered = Login(credential, self._settings)
        return entered if entered.still_valid() else None

    def recognise(self, session: MailSession) -> Login | None:
        """Log in a client from an allow-listed network, without a password."""
        for credential in self._settings().credentials.values():
            if credential.passwordless and _comes_from(session.peer_address, credential.networks):
                entered = Login(credential, self._settings)
                if entered.still_valid():
                    return entered
        return None


def _comes_from(address: str, networks: tuple[str, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in ipaddress.ip_network(network) for network in networks)
