"""Runs aiosmtpd's own tests against our session class: a pytest plugin for a process of its own.

`python -m pytest -p tests.harness.aiosmtpd_plug .../aiosmtpd/tests/test_smtp.py`. The plugin puts a
class in the place of `aiosmtpd.smtp.SMTP` that takes aiosmtpd's arguments and is our session, and
lets the suite compare reply codes only: texts and enhanced codes are ours on purpose. It also gives
the little of pytest-mock that the suite uses.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import types
from collections.abc import Iterator
from unittest import mock

import aiosmtpd.controller
import aiosmtpd.smtp
import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from aiosmtpd.testing.statuscodes import StatusCode

from relay.submission.door import Door, TryLater
from relay.submission.envelope import MailSession
from relay.submission.limits import Gate, GateLimits
from relay.submission.options import SessionLimits, SessionOptions
from relay.submission.session import SubmissionSession


class StockAuthenticator:
    """The synchronous callbacks of aiosmtpd behind our asynchronous seam."""

    def __init__(self, server: PluggedSession, authenticator: object, callback: object) -> None:
        """One of the two callables, or neither."""
        self._server = server
        self._authenticator = authenticator
        self._callback = callback

    async def authenticate(
        self, mechanism: str, login: bytes, password: bytes, session: MailSession
    ) -> object | None:
        """Ask the callable that there is."""
        data = LoginPassword(login, password)
        if callable(self._authenticator):
            result = self._authenticator(
                self._server, session, self._server.envelope, mechanism, data
            )
            if isinstance(result, AuthResult) and result.success:
                return result.auth_data if result.auth_data is not None else data
            if isinstance(result, AuthResult) and result.message:
                raise TryLater(result.message)
            return None
        if callable(self._callback) and self._callback(mechanism, login, password):
            return data
        return None


class PluggedSession(SubmissionSession):
    """Our session with aiosmtpd's constructor."""

    def __init__(
        self,
        handler: object,
        *,
        data_size_limit: int | None = 2**25,
        hostname: str | None = None,
        ident: str | None = None,
        tls_context: object = None,
        require_starttls: bool = False,
        timeout: float = 300,
        auth_required: bool = False,
        auth_require_tls: bool = True,
        auth_callback: object = None,
        authenticator: object = None,
        loop: asyncio.AbstractEventLoop | None = None,
        **others: object,
    ) -> None:
        """Make a door for each connection, as aiosmtpd makes a server object for each."""
        import ssl

        assert tls_context is None or isinstance(tls_context, ssl.SSLContext)
        self.others = others
        door = Door(
            handler,
            options=SessionOptions(
                hostname=hostname or socket.getfqdn(),
                ident=ident or aiosmtpd.smtp.__ident__,
                auth_required=auth_required,
                auth_needs_tls=auth_require_tls,
                starttls_required=tls_context is not None and bool(require_starttls),
                smtputf8=bool(others.get("enable_SMTPUTF8")),
            ),
            limits=SessionLimits(
                message=data_size_limit or 2**25, idle=timeout, error_delay=0.0, linger=1.0
            ),
            authenticator=StockAuthenticator(self, authenticator, auth_callback),
            gate=Gate(GateLimits()),
            tls=tls_context,
            tick=0.1,
            loop=loop or asyncio.get_event_loop(),
        )
        super().__init__(door)

    def connection_lost(self, error: Exception | None) -> None:
        """The wheel is this connection's own."""
        super().connection_lost(error)
        self.door.wheel.stop()


class Mocker:
    """The part of pytest-mock's fixture that the suite uses."""

    Mock = mock.Mock
    MagicMock = mock.MagicMock

    def __init__(self) -> None:
        """Nothing is patched yet."""
        self._active: list[object] = []

    def patch(self, target: str, *arguments: object, **options: object) -> object:
        """Patch by dotted name until the fixture ends."""
        patcher = mock.patch(target, *arguments, **options)  # type: ignore[call-overload]
        self._active.append(patcher)
        return patcher.start()

    def spy(self, target: object, name: str) -> object:
        """Let a method be watched."""
        patcher = mock.patch.object(target, name, side_effect=getattr(target, name), autospec=True)
        self._active.append(patcher)
        return patcher.start()

    def stop(self) -> None:
        """Undo everything."""
        for patcher in reversed(self._active):
            patcher.stop()  # type: ignore[attr-defined]


@pytest.fixture
def mocker() -> Iterator[Mocker]:
    """As in pytest-mock."""
    made = Mocker()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def session_mocker() -> Iterator[Mocker]:
    """As in pytest-mock."""
    made = Mocker()
    yield made
    made.stop()


def _same_code(ours: StatusCode, theirs: object) -> bool:
    return isinstance(theirs, tuple) and ours.code == theirs[0]


shim = types.ModuleType("pytest_mock")
shim.MockFixture = shim.MockerFixture = Mocker  # type: ignore[attr-defined]
sys.modules.setdefault("pytest_mock", shim)
StatusCode.__eq__ = _same_code  # type: ignore[method-assign, assignment]
StatusCode.__hash__ = tuple.__hash__  # type: ignore[method-assign]
vars(aiosmtpd.smtp)["SMTP"] = PluggedSession
vars(aiosmtpd.controller)["SMTP"] = PluggedSession
