"""What both HTTP listeners say to octets that are no proper request: the status, and nothing else.

aiohttp answers them with what it found wrong, quoting the request, names itself and its version,
and logs a traceback for each: a mirror for whoever tries things, and a log that anybody can fill.
Here the answer is the same whatever came, the connection ends, and nothing is logged. What fails
on our side is logged and answered by 500. All other requests are none of this module's business.

This is the one place that reaches below aiohttp's documented interface (`AppRunner._make_server`,
`RequestHandler.handle_error`, `BaseRequest._prepare_hook`, the arguments that a server keeps);
`tests/unit/web/test_wire.py` and `test_tracking_host.py` fail when a newer aiohttp has them no
more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

_log = logging.getLogger(__name__)


class _Handler(RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read, and close."""
        if status >= 500:
            _log.error("a request could not be answered", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        said = f"{status}: {HTTPStatus(status).phrase}"
        response = web.Response(status=status, text=said, headers={"Server": ""})
        response.force_close()
        return response


class _Server(web.Server):
    """Makes such handlers."""

    def __call__(self) -> RequestHandler:
        """Serve a connection."""
        return _Handler(self, loop=self._loop, **self._kwargs)


class _Request(web.BaseRequest):
    """A request whose answer does not name our software, and is taken as what it is."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall("Server", None)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")


def direct_runner(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    *,
    max_body: int,
    **options: Any,
) -> web.ServerRunner:
    """Give a runner that hands every request to `answer` and says as little as `DiscreetRunner`.

    Routes, middlewares and signals of an application cost more than what a hit needs. `max_body` is
    in octets; `options` are those of `web.Server`.
    """
    loop = asyncio.get_running_loop()

    def made(
        message: RawRequestMessage, payload: Any, protocol: Any, writer: Any, task: Any
    ) -> web.BaseRequest:
        return _Request(message, payload, protocol, writer, task, loop, client_max_size=max_body)

    return web.ServerRunner(_Server(answer, request_factory=made, **options))


async def ask_for_body(request: web.BaseRequest) -> None:
    """Tell a client that waits to hear it that its body is wanted (RFC 9110 section 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


class DiscreetRunner(web.AppRunner):
    """An AppRunner whose server says little about what it cannot read."""

    __slots__ = ()

    async def _make_server(self) -> Any:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
