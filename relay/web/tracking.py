"""The public tracking host: click, pixel, unsubscribe by page and by one-click.

Guarantees: a token that we did not sign for this host is 404 and nothing else is said; a redirect
goes only where we signed; GET and HEAD change nothing but the record of the hit; an unsubscription
is answered after it is on disk. A hit may be answered before it is (a kill loses at most one group
commit). The Host asked for decides nothing but whether the signature holds. RFC 8058 for one-click.
"""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from aiohttp import web

from metrics.events import Event, Hit, Kind
from relay.clock import Clock
from relay.errors import StorageError
from relay.mail.keyring import KeyRing
from relay.settings import Blocks, SendingDomain
from relay.unsubscription import scope_of
from relay.web.clients import ClientAddress
from relay.web.discreet import Privacy, sum_only, without_address
from relay.web.wire import ask_for_body, direct_runner
from tracking import tokens
from tracking.urls import BadDestinationError, destination, usual_host

_log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode

PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
_PIXEL_HEADERS = {
    "Content-Type": "image/gif",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_CLICK_HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS = _CLICK_HEADERS | {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
}
UNRECORDED = (
    ("click", "bad-token"),
    ("click", "blocked"),
    ("click", "withdrawn"),
    ("open", "bad-token"),
    ("open", "blocked"),
    ("open", "withdrawn"),
    ("unsubscribe", "bad-token"),
    ("unsubscribe", "page"),
    ("unsubscribe", "done"),
    ("unsubscribe", "failed"),
)
"""Requests that are counted here, by kind and what came of them; hits are counted in control."""
_WORDS = {Kind.CLICKED: "click", Kind.OPENED: "open"}
_MAX_USER_AGENT = 400
_BODY_SECONDS = 10
_MAX_HOSTS = 1000
_MAX_BODY = 65_536


class Recorder(Protocol):
    """Where facts go."""

    def hit(self, event: bytes) -> None:
        """Record a hit soon; it may be lost with one group commit."""
        ...

    def may_track(self, account: int, delivery: int) -> bool:
        """Say whether the recipient of a delivery still lets this account track them."""
        ...

    async def unsubscribe(self, event: Event) -> None:
        """Record an unsubscription and put it in force on this node; returns when it is on disk."""
        ...


class TrackingHost:
    """The handlers; one per worker."""

    def __init__(
        self,
        *,
        keyring: KeyRing,
        blocks: Callable[[], Blocks],
        domain: Callable[[int], SendingDomain | None],
        recorder: Recorder,
        clients: ClientAddress,
        clock: Clock,
        count: Callable[[str, str], None] = lambda _kind, _word: None,
    ) -> None:
        """Take the keys, the block list, whom to tell, and who counts (see `UNRECORDED`)."""
        self._keyring = keyring
        self._blocks = blocks
        self._domain = domain
        self._recorder = recorder
        self._clients = clients
        self._clock = clock
        self._count = count
        self._hosts: dict[str, str] = {}  # by what the Host field says

    def runner(self, **options: Any) -> web.ServerRunner:
        """Give what serves the public listener; `options` are those of `web.Server`."""
        return direct_runner(self.answer, max_body=_MAX_BODY, **options)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        path = request.path
        kind, text = path[:3], path[3:]
        if kind == "/c/":
            return self.click(request, text)
        if kind == "/o/" and text.endswith(".gif") and "/" not in text and len(text) > 4:
            return self.pixel(request, text[:-4])
        if kind == "/u/":
            return await self.unsubscribe(request, text)
        if path == "/robots.txt":
            return _robots(request)
        return _not_found()

    def click(self, request: web.BaseRequest, text: str) -> web.Response:
        """Redirect to the signed destination."""
        if request.method not in ("GET", "HEAD"):
            return _method_not_allowed()
        token = self._read(request, text, tokens.Kind.CLICK)
        if token is None:
            return _not_found()
        try:
            url, location = _where_to(token.destination)
        except BadDestinationError:
            return _not_found()
        if self._blocked(token, url):
            self._count("click", "blocked")
            return web.Response(
                status=410, headers=_PAGE_HEADERS, text=_page("This link has been switched off.")
            )
        self._hit(request, Kind.CLICKED, token, url)
        headers = _CLICK_HEADERS | {"Location": location}
        return web.Response(status=302, headers=headers)

    def pixel(self, request: web.BaseRequest, text: str) -> web.Response:
        """Serve the picture; only a valid token is recorded."""
        if request.method not in ("GET", "HEAD"):
            return _method_not_allowed()
        token = self._read(request, text, tokens.Kind.OPEN)
        if token is not None and self._blocked(token, ""):
            self._count("open", "blocked")
        elif token is not None:
            self._hit(request, Kind.OPENED, token, "")
        return web.Response(body=PIXEL, headers=_PIXEL_HEADERS)

    async def unsubscribe(self, request: web.BaseRequest, text: str) -> web.Response:
        """Show the page on GET; unsubscribe on POST, one-click or from the page's button."""
        token = self._read(request, text, tokens.Kind.UNSUBSCRIBE)
        if token is None:
            return _not_found()
        if request.method in ("GET", "HEAD"):
            self._count("unsubscribe", "page")
            return web.Response(headers=_PAGE_HEADERS, text=_unsubscribe_page())
        if request.method != "POST":
            return _method_not_allowed("GET, HEAD, POST")
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                await ask_for_body(request)
                form = await request.post()
        except TimeoutError:
            return web.Response(status=408, text="the request body did not arrive in time\n")
        if form.get("List-Unsubscribe") != "One-Click":
            return web.Response(
                status=400, text="expected the form field List-Unsubscribe=One-Click\n"
            )
        asked = Event(
            kind=Kind.UNSUBSCRIBED,
            at=self._clock(),
            delivery=token.identity.delivery,
            account=token.identity.account,
            sending_domain_id=token.identity.domain,
            campaign_hash=token.identity.campaign,
            scope=scope_of(token.link),
            reason="one-click" if "button" not in form else "page",
        )
        try:
            await self._recorder.unsubscribe(asked)
        except StorageError as problem:
            self._count("unsubscribe", "failed")
            _log.error("an unsubscription could not be recorded: %s", problem)
            return _not_now()
        self._count("unsubscribe", "done")
        return web.Response(headers=_PAGE_HEADERS, text=_page("You have been unsubscribed."))

    def _read(self, request: web.BaseRequest, text: str, kind: tokens.Kind) -> tokens.Token | None:
        """Read a token by the host that was asked for.

        The signature covers the host, so that a token is good on its own host only, and on that
        one also after its sending domain got another: mail already sent names it.
        """
        try:
            token = tokens.read(text, self._host(request), self._keyring)
        except tokens.BadTokenError:
            token = None
        if token is not None and token.kind is kind:
            return token
        self._count(kind.name.lower(), "bad-token")
        return None

    def _host(self, request: web.BaseRequest) -> str:
        """Give the name that was asked for; one name is asked for again and again."""
        if request.rel_url.absolute:  # the whole URL in the first line, as to a proxy
            return (request.url.host or "").lower()
        name = self._hosts.get(request.host)
        if name is None:
            if len(self._hosts) >= _MAX_HOSTS:
                self._hosts.clear()
            name = self._hosts[request.host] = (request.url.host or "").lower()
        return name

    def _blocked(self, token: tokens.Token, url: str) -> bool:
        blocks = self._blocks()
        identity = token.identity
        if identity.campaign in blocks.campaigns or identity.domain in blocks.domains:
            return True
        if not url or not blocks.destinations:
            return False
        return url in blocks.destinations or f"host:{_host_of(url)}" in blocks.destinations

    def _hit(self, request: web.BaseRequest, kind: Kind, token: tokens.Token, url: str) -> None:
        identity = token.identity
        if not self._recorder.may_track(identity.account, identity.delivery):
            self._count(_WORDS[kind], "withdrawn")
            return
        headers = request.headers
        event = Event(
            kind=kind,
            at=self._clock(),
            delivery=identity.delivery,
            account=identity.account,
            sending_domain_id=identity.domain,
            campaign_hash=identity.campaign,
            hit=Hit(
                method=request.method,
                user_agent=headers.get("User-Agent", "")[:_MAX_USER_AGENT],
                address=self._clients.of(request),
                purpose=(
                    headers.get("Sec-Purpose")
                    or headers.get("Purpose")
                    or headers.get("X-Moz")
                    or ""
                )[:64],
                link=token.link,
                url=url,
            ),
        )
        domain = self._domain(identity.domain)
        if domain is not None and domain.privacy == Privacy.AGGREGATE:
            event = sum_only(event, domain.name)
        elif domain is not None and domain.privacy == Privacy.NOADDRESS:
            event = without_address(event)
        self._recorder.hit(_encode(event))


def _where_to(field: bytes) -> tuple[str, str]:
    """Give the destination and its Location header; raises BadDestinationError."""
    if usual_host(field) is not None:  # most are: plain, printable, nothing to convert
        url = field.decode("ascii")
        return url, url
    found = destination(field)
    return found.url, found.location.decode("ascii")


def _host_of(url: str) -> str:
    authority = url.split("://", 1)[-1].replace("\\", "/")
    for mark in "/?#":
        authority = authority.split(mark, 1)[0]
    host = authority.rsplit("@", 1)[-1]
    return host.rsplit(":", 1)[0].lower() if not host.endswith("]") else host.lower()


def _robots(request: web.BaseRequest) -> web.Response:
    if request.method not in ("GET", "HEAD"):
        return _method_not_allowed()
    return web.Response(text="User-agent: *\nDisallow: /\n")


def _not_found() -> web.Response:
    return web.Response(status=404, text="404: Not Found")


def _method_not_allowed(allow: str = "GET, HEAD") -> web.Response:
    return web.Response(status=405, headers={"Allow": allow}, text="405: Method Not Allowed")


def _page(sentence: str, extra: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(sentence)}</title>"
        "<style>body{font:1.1rem/1.5 sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}"
        "button{font:inherit;padding:.5rem 1.5rem}</style></head>"
        f"<body><p>{html.escape(sentence)}</p>{extra}</body></html>\n"
    )


def _not_now() -> web.Response:
    return web.Response(
        status=503,
        headers=_PAGE_HEADERS | {"Retry-After": "60"},
        text=_page("Your wish could not be recorded just now. Please try again in a minute."),
    )


def _unsubscribe_page() -> str:
    return _page(
        "Do you want to stop receiving these mails?",
        '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">'
        '<button name="button" value="page">Unsubscribe</button></form>',
    )
