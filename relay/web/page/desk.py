"""What every page needs: who is signed in, in which language, and the way to control's operations.

Guarantees: a page is only shown to a session that is still good; a form is only taken from one of
that session's own pages (its token, and what the browser says of the origin); everything is written
through templates that escape; no answer allows a script or a style that is not a file of this
server. What an operation refuses becomes a page that says why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from relay.control.caller import Caller
from relay.control.calling import Asked, call
from relay.control.route import PREFIX
from relay.control.services import Services
from relay.errors import ForbiddenError, OperationError
from relay.web.page.sessions import Session, Sessions
from relay.web.page.words import DIMENSIONS, LANGUAGES, MEASURES, sentence, translate, wanted

FOLDER = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # forms must say where they come from
}
Query = Iterable[tuple[str, str]]
Handler = Callable[["Visit"], Awaitable[web.StreamResponse]]


@dataclass(slots=True, kw_only=True)
class Desk:
    """What pages share; `secure` when browsers reach us by TLS (behind the proxy)."""

    services: Services
    sessions: Sessions
    secure: bool
    templates: Environment

    @property
    def cookie(self) -> str:
        """Give the session cookie's name; the prefix makes browsers insist on what it promises."""
        return "__Host-waypost" if self.secure else "waypost"

    def page(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Make a handler for those who are signed in."""

        async def handle(request: web.Request) -> web.StreamResponse:
            session = self.sessions.find(request.cookies.get(self.cookie, ""))
            caller = None
            if session is not None:
                caller = await self.services.operators.caller_of(session.who)
            if session is None or caller is None:
                back = request.rel_url.raw_path_qs if request.method == "GET" else "/"
                return seen_other(f"/login?to={quote(back, safe='')}")
            visit = Visit(desk=self, request=request, session=session, caller=caller)
            try:
                if request.method == "POST":
                    await visit.read_form()
                return await handler(visit)
            except OperationError as problem:
                status, text = problem.status, problem.detail
                return visit.show("error.html", status=status, text=text, title="error")

        return handle

    def render(self, request: web.Request, template: str, **values: object) -> web.Response:
        """Give a page, for a visitor who is signed in or not."""
        asked = request.query.get("lang", "")
        language = wanted(
            asked, request.cookies.get("language", ""), request.headers.get("Accept-Language", "")
        )
        status = values.pop("status", 200)
        text = self.templates.get_template(template).render(
            language=language,
            languages={
                code: (name, str(request.rel_url.update_query(lang=code)))
                for code, name in LANGUAGES.items()
            },
            path=request.path,
            t=lambda word: translate(language, str(word)),
            say=lambda text: sentence(language, text),
            measure=lambda name: translate(language, MEASURES.get(name, str(name))),
            dimension=lambda name: translate(language, DIMENSIONS.get(name, str(name))),
            **values,
        )
        response = web.Response(
            text=text,
            status=status if isinstance(status, int) else 200,
            content_type="text/html",
            headers=_HEADERS,
        )
        if asked in LANGUAGES:
            response.set_cookie(
                "language", asked, max_age=31_536_000, samesite="Lax", secure=self.secure
            )
        return response


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request of somebody who is signed in."""

    desk: Desk
    request: web.Request
    session: Session
    caller: Caller
    form: Mapping[str, Any] = field(default_factory=dict)  # a MultiDict once read

    async def read_form(self) -> None:
        """Read a form; raises ForbiddenError unless it comes from this session's own page."""
        check_origin(self.request)
        self.form = await self.request.post()
        if not self.session.knows(str(self.form.get("csrf", ""))):
            raise ForbiddenError("the form is too old or not from here; load the page again")

    def text(self, name: str) -> str:
        """Give a field of the form as text, "" when it is not there."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """Give all values of a field of the form."""
        getall = getattr(self.form, "getall", None)
        return [str(one) for one in getall(name, [])] if getall else []

    def query(self, *names: str) -> list[tuple[str, str]]:
        """Give these parameters of the address, without those that say nothing."""
        return [(n, v) for n in names for v in self.request.query.getall(n, []) if v]

    async def ask(self, path: str, query: Query = ()) -> Any:
        """Ask an operation; give its answer as plain values. Raises OperationError."""
        return await self._call(Asked(method="GET", path=PREFIX + path, query=tuple(query)))

    async def ask_raw(self, path: str, query: Query = ()) -> msgspec.Raw:
        """Ask an operation; give its answer as the JSON it is. Raises OperationError."""
        asked = Asked(method="GET", path=PREFIX + path, query=tuple(query))
        found = await call(self.desk.services.registry, self.caller, asked)
        if isinstance(found.content, AsyncIterator):
            raise TypeError(f"{path} answers with a stream")
        return msgspec.Raw(found.content)

    async def tell(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Have an operation change something; values that are None are left out."""
        raw = b""
        if body is not None:
            raw = msgspec.json.encode({n: v for n, v in body.items() if v is not None})
        kind = "application/json" if raw else ""
        asked = Asked(method=method, path=PREFIX + path, media_type=kind, body=raw)
        return await self._call(asked)

    async def download(self, path: str, query: Query, name: str) -> web.StreamResponse:
        """Hand on an answer that is a file."""
        asked = Asked(method="GET", path=PREFIX + path, query=tuple(query))
        found = await call(self.desk.services.registry, self.caller, asked)
        headers = {
            **_HEADERS,
            "Content-Type": f"{found.media_type}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(self.request)
        if isinstance(found.content, AsyncIterator):
            async for piece in found.content:
                await response.write(piece)
        else:
            await response.write(found.content)
        await response.write_eof()
        return response

    def show(self, template: str, **values: object) -> web.Response:
        """Give a page to who is signed in."""
        who = self.caller.name.rpartition(":")[2]
        may_write = bool({"write", "admin"} & {scope.value for scope in self.caller.scopes})
        return self.desk.render(
            self.request,
            template,
            csrf=self.session.csrf,
            who=who,
            may_write=may_write,
            query=self.request.query,
            **values,
        )

    async def _call(self, asked: Asked) -> Any:
        found = await call(self.desk.services.registry, self.caller, asked)
        if isinstance(found.content, AsyncIterator):
            return b"".join([piece async for piece in found.content])
        return msgspec.json.decode(found.content) if found.content else None


def check_origin(request: web.Request) -> None:
    """Raise ForbiddenError for a form that another site sent."""
    site = request.headers.get("Sec-Fetch-Site", "")
    if site and site not in ("same-origin", "none"):
        raise ForbiddenError("forms are taken from this server's own pages only")
    origin = request.headers.get("Origin", "")
    if not site and origin and urlsplit(origin).netloc != request.headers.get("Host", ""):
        raise ForbiddenError("forms are taken from this server's own pages only")


def local_path(text: str) -> str:
    """Give an address to go back to if it is one of this server's own, else "/"."""
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"


def seen_other(address: str) -> web.Response:
    """Give the answer after a form: go and look (RFC 9110 section 15.4.4)."""
    return web.Response(status=303, headers={"Location": address})


def environment() -> Environment:
    """Make the templates' environment: everything is escaped, and what is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["figure"] = figure
    made.filters["moment"] = moment
    made.filters["json"] = lambda value: msgspec.json.encode(value).decode()
    return made


def figure(value: float | None, name: str = "") -> str:
    """Write a number for people: rates in per cent, times in seconds, thousands apart."""
    if value is None:
        return "-"
    if name.endswith("_rate"):
        return f"{value:.2%}"
    if name.endswith("_ms"):
        return f"{value / 1000:,.2f} s"
    return f"{value:,}"


def moment(text: str | None) -> str:
    """Write a time for people, in UTC to the second."""
    if not text:
        return "-"
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")
