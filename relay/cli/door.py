"""How a command reaches control: through the admin socket of the running server, else directly.

Guarantees: both ways carry out the same operations with the same checks. Without a server the
command takes the ledger's exclusive lock for as long as it runs, so that it cannot meet another
writer. An operation that is refused raises CommandError with its reason.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from relay.errors import WaypostError
from relay.layout import Layout

if TYPE_CHECKING:
    import asyncio
    import http.client
    from pathlib import Path

    from relay.config import Config
    from relay.control.services import Services

_API = "/api/v1"
_TIMEOUT_SECONDS = 120
_BUSY_SECONDS = 10.0  # control starts in less, but for long recoveries
_LOOK_SECONDS = 0.1
_PAGE = 500


class CommandError(WaypostError):
    """A command that was not carried out; the text says why."""


class Carrier(Protocol):
    """Brings a request to control."""

    def carry(
        self, method: str, path: str, media_type: str, body: bytes
    ) -> tuple[int, Iterator[bytes]]:
        """Give the status and the answer's bytes, which may come in pieces."""
        ...


class Door:
    """What commands ask through."""

    def __init__(self, carrier: Carrier) -> None:
        """Take the way to control."""
        self._carrier = carrier

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, object] | None = None,
    ) -> Any:
        """Carry out one operation; give its answer as plain values. Raises CommandError."""
        raw = b"" if body is None else msgspec.json.encode(_given(body))
        media_type = "" if body is None else "application/json"
        answer = b"".join(self._carry(method, path, query, media_type, raw))
        return msgspec.json.decode(answer) if answer else None

    def send(
        self, method: str, path: str, media_type: str, raw: bytes, query: Mapping[str, object]
    ) -> Any:
        """Carry out an operation that takes a file."""
        answer = b"".join(self._carry(method, path, query, media_type, raw))
        return msgspec.json.decode(answer) if answer else None

    def stream(self, path: str, query: Mapping[str, object]) -> Iterator[bytes]:
        """Read an answer that is no JSON, in pieces."""
        return self._carry("GET", path, query, "", b"")

    def pages(
        self, path: str, query: Mapping[str, object] | None = None, *, most: int = 0
    ) -> list[dict[str, Any]]:
        """Follow a list to its end, or to `most` items."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            limit = min(_PAGE, most - len(items)) if most else _PAGE
            asked = {**(query or {}), "limit": limit, "cursor": cursor or None}
            answer = self.ask("GET", path, query=asked)
            items += answer["items"]
            cursor = answer["next"]
            if not cursor or (most and len(items) >= most):
                return items

    def account(self, named: str | None) -> int | None:
        """Give the id of an account named by its id or its name; None stays None."""
        if named is None or named.isdigit():
            return int(named) if named else None
        found = self.ask("GET", "/accounts", query={"name": named})["items"]
        if not found:
            raise CommandError(f"there is no account named {named!r}")
        id_: int = found[0]["id"]
        return id_

    def _carry(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None,
        media_type: str,
        raw: bytes,
    ) -> Iterator[bytes]:
        pairs = urlencode(_given(query or {}), doseq=True)
        address = _API + path + (f"?{pairs}" if pairs else "")
        status, pieces = self._carrier.carry(method, address, media_type, raw)
        if status >= 400:
            raise CommandError(_reason(status, b"".join(pieces)))
        return pieces


def part(text: object) -> str:
    """Write a value as one part of a path."""
    return quote(str(text), safe="")


@contextmanager
def open_door(options: argparse.Namespace) -> Iterator[Door]:
    """Reach control: the server's socket if one listens there, else the ledger itself."""
    from relay.cli.main import load_config

    config = load_config(options)
    with ExitStack() as stack:
        yield Door(_reached(stack, config))


def _reached(stack: ExitStack, config: Config) -> Carrier:
    """Find the way; a server whose control is starting has the ledger and no socket for a moment.

    Raises LedgerBusyError when that does not pass.
    """
    from relay.ledger.engine import LedgerBusyError

    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        connection = _connect(Layout(config.data_dir).admin_socket)
        if connection is not None:
            stack.callback(connection.close)
            return _Server(connection)
        try:
            return stack.enter_context(_direct(config))
        except LedgerBusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_SECONDS)


class _Server:
    """The way through the admin socket."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def carry(
        self, method: str, path: str, media_type: str, body: bytes
    ) -> tuple[int, Iterator[bytes]]:
        from http.client import HTTPException

        headers = {"Content-Type": media_type} if media_type else {}
        try:
            self._connection.request(method, path, body or None, headers)
            response = self._connection.getresponse()
        except (OSError, HTTPException) as problem:
            raise CommandError(f"the server did not answer: {problem!r}") from None
        return response.status, _pieces(response)


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := response.read(65536):
        yield piece


def _connect(path: Path) -> http.client.HTTPConnection | None:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.settimeout(_TIMEOUT_SECONDS)
    try:
        found.connect(str(path))
    except OSError:  # no such file, or left by a server that is gone
        found.close()
        return None
    from http.client import HTTPConnection

    connection = HTTPConnection("operator")
    connection.sock = found
    return connection


class _Direct:
    """The way to the operations in this process."""

    def __init__(self, runner: asyncio.Runner, services: Services) -> None:
        self._runner = runner
        self._services = services

    def carry(
        self, method: str, path: str, media_type: str, body: bytes
    ) -> tuple[int, Iterator[bytes]]:
        from urllib.parse import parse_qsl

        from relay.control.caller import OPERATOR
        from relay.control.calling import Asked, call
        from relay.errors import OperationError

        address, _, query = path.partition("?")
        asked = Asked(
            method=method,
            path=address,
            query=tuple(parse_qsl(query, keep_blank_values=True)),
            media_type=media_type,
            body=body,
        )
        try:
            answered = self._runner.run(call(self._services.registry, OPERATOR, asked))
        except OperationError as problem:
            raise CommandError(problem.detail) from None
        if isinstance(answered.content, bytes):
            return answered.status, iter((answered.content,))
        return answered.status, self._drain(answered.content)

    def _drain(self, pieces: AsyncIterator[bytes]) -> Iterator[bytes]:
        async def following() -> bytes:
            return await anext(pieces, b"")

        while piece := self._runner.run(following()):
            yield piece


@contextmanager
def _direct(config: Config) -> Iterator[Carrier]:
    import asyncio

    from relay.control.services import start_services
    from relay.ledger.engine import open_ledger
    from relay.mail.keyring import KeyRing

    layout = Layout(config.data_dir)
    layout.prepare()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        ledger = runner.run(stack.enter_async_context(open_ledger(config.ledger_url)))
        try:
            ring = KeyRing.load_or_create(layout.keyring)
            services = runner.run(start_services(ledger, ring, config, layout))
            yield _Direct(runner, services)
            runner.run(services.suppression_feed.finish())
        finally:
            runner.run(stack.aclose())


def _given(values: Mapping[str, object]) -> dict[str, object]:
    """Leave out what was not said."""
    return {name: value for name, value in values.items() if value is not None}


def _reason(status: int, answer: bytes) -> str:
    try:
        problem = msgspec.json.decode(answer)
        return str(problem["detail"] or problem["title"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"the server answered {status}"
