"""What both HTTP listeners say to octets that are no proper request: the status, and nothing else.

aiohttp answers them with what it found wrong, quoting the request, names itself and its version,
and logs a traceback for each: a mirror for whoever tries things, and a log that anybody can fill.
Here the answer is the same whatever came, the connection ends, and nothing is logged. What fails
on our side is logged and answered by 500. All other requests are none of this module's business.

This is the one place that reaches below aiohttp's documented interface (`AppRunner._make_server`,
`RequestHandler.handle_error`, the arguments that a server keeps); `tests/unit/web/test_wire.py`
fails when a newer aiohttp has these no more.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from aiohttp import web
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
