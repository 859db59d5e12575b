"""The admin listener's application: API, OpenAPI document, health, metrics.

A request is checked in this order: Host, address, key, scope, size, media type, values. The same
application is served on TCP (a key is needed) and on the operator's unix socket (none is: whoever
can open a socket of mode 0600 can read the ledger as well). Guarantees: every error is
problem+json; no handler's exception leaves without an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from relay.control.caller import OPERATOR, Caller, Scope
from relay.control.calling import Answered, Asked, run
from relay.control.services import Services
from relay.errors import OperationError
from relay.web.admin.guards import HostGuard, harden, is_operator, read_body
from relay.web.admin.openapi import document
from relay.web.admin.problems import response_to

DEFAULT_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class KeyMissingError(OperationError):
    """No key, or none that is known, in force and not expired."""

    status = 401
    slug = "key"


class Admin:
    """The handlers, with what they need."""

    def __init__(self, services: Services, allowed_hosts: Iterable[str]) -> None:
        """Take control's services and the Host headers to answer to."""
        self._services = services
        self._hosts = HostGuard(allowed_hosts)
        self._document = msgspec.json.encode(document(services.registry.routes))

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the Host, and make every error an answer."""
        try:
            self._hosts.check(request)
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - the border of a request: all errors get answers
            response = response_to(error)
            if response.status == 401:
                response.headers["WWW-Authenticate"] = 'Bearer realm="waypost"'
        if not response.prepared:
            harden(response)
        return response

    async def say_little(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Leave out what names our software to whoever scans."""
        response.headers.popall("Server", None)

    async def operation(self, request: web.Request) -> web.StreamResponse:
        """Answer anything below `/api/`."""
        found, parameters = self._services.registry.find(request.method, request.rel_url.raw_path)
        caller = await self._caller(request, found.scope)
        caller.demand(found.scope)
        asked = Asked(
            method=request.method,
            path=request.rel_url.raw_path,
            query=tuple(request.rel_url.query.items()),
            media_type=request.headers.get("Content-Type", ""),
            body=await read_body(request, found.max_body),
            fields={name.lower(): text for name, text in request.headers.items()},
        )
        answered = await run(found, parameters, caller, asked)
        return await _respond(request, answered)

    async def openapi(self, _request: web.Request) -> web.Response:
        """Give the OpenAPI document."""
        return web.Response(body=self._document, content_type="application/json")

    async def healthz(self, _request: web.Request) -> web.Response:
        """Say that the process answers."""
        return web.json_response({"status": "alive"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """Say whether the node can do its work, and what is wrong if not."""
        wrong = dict(await self._services.ready())
        status = "ready" if not wrong else "not ready"
        return web.json_response(
            {"status": status, "wrong": wrong}, status=200 if not wrong else 503
        )

    async def metrics(self, _request: web.Request) -> web.Response:
        """Give the metrics for Prometheus."""
        return web.Response(
            body=await self._services.metrics(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _caller(self, request: web.Request, scope: Scope) -> Caller:
        if is_operator(request):
            return OPERATOR
        if scope is Scope.NONE:
            return Caller(name="anybody", scopes=frozenset())
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        caller = None
        if scheme.lower() == "bearer":
            caller = await self._services.api_keys.caller_of(key.strip())
        if caller is None:
            raise KeyMissingError("expected an API key in `Authorization: Bearer wpk_...`")
        return caller


def build_admin_app(
    services: Services, *, allowed_hosts: Iterable[str] = DEFAULT_HOSTS
) -> web.Application:
    """Build the application; it is served by whoever has the sockets."""
    admin = Admin(services, allowed_hosts)
    app = web.Application(middlewares=[admin.guard], handler_args={"max_line_size": 8190})
    app.on_response_prepare.append(admin.say_little)
    app.router.add_get("/healthz", admin.healthz)
    app.router.add_get("/readyz", admin.readyz)
    app.router.add_get("/metrics", admin.metrics)
    app.router.add_get("/openapi.json", admin.openapi)
    app.router.add_route("*", "/api/{rest:.*}", admin.operation)
    return app


async def _respond(request: web.Request, answered: Answered) -> web.StreamResponse:
    if not isinstance(answered.content, AsyncIterator):
        response = web.Response(status=answered.status, body=answered.content or None)
        if answered.media_type:
            response.headers["Content-Type"] = answered.media_type
        return response
    content_type = f"{answered.media_type}; charset=utf-8"
    stream = web.StreamResponse(status=answered.status, headers={"Content-Type": content_type})
    harden(stream)
    await stream.prepare(request)
    async for piece in answered.content:
        await stream.write(piece)
    await stream.write_eof()
    return stream
