"""The page's addresses, signing in and out, and its files.

A request goes through the admin application's guard (Host, errors), then `desk.py` (session, form),
then a handler that asks control's operations. Files under `/static/` are the repository's own, with
their hash in the address, and may be kept by browsers for ever.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import web

from relay.clock import Clock, now
from relay.control.operations.layouts import Layouts
from relay.control.services import Services
from relay.errors import NotFoundError
from relay.web.clients import ClientAddress
from relay.web.page.desk import (
    FOLDER,
    Desk,
    Visit,
    check_origin,
    environment,
    local_path,
    seen_other,
)
from relay.web.page.lists import Lists
from relay.web.page.live import Live
from relay.web.page.reports import Reports
from relay.web.page.sessions import Sessions, Throttle
from relay.web.page.settings import Settings

_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_MOST_PASSWORD = 200


def add_page(
    app: web.Application,
    services: Services,
    live: Live,
    *,
    secure: bool,
    clients: ClientAddress,
    clock: Clock = now,
) -> None:
    """Add the page to the admin application; `secure` when browsers reach it by TLS."""
    files = Files(FOLDER / "static")
    templates = environment()
    templates.globals["static"] = files.address
    desk = Desk(services=services, sessions=Sessions(clock), secure=secure, templates=templates)
    door = Door(desk, Throttle(clock), clients)
    reports = Reports(live, Layouts(services.changes))
    settings, lists = Settings(), Lists()
    page, get, post = desk.page, app.router.add_get, app.router.add_post
    get("/login", door.form)
    post("/login", door.sign_in)
    post("/logout", page(door.sign_out))
    get("/static/{name:.+}", files.give)
    get("/", page(reports.overview))
    get("/report", page(reports.report))
    get("/report/data.json", page(reports.report_data))
    get("/report/live", page(reports.live))
    post("/report/layout", page(reports.keep_layout))
    get("/report/{widget}.csv", page(reports.report_csv))
    get("/statistics", page(reports.statistics))
    get("/statistics.csv", page(reports.statistics_csv))
    get("/settings", page(settings.show))
    post("/settings/tracking", page(settings.change_tracking))
    get("/settings/domains/{domain}", page(settings.domain))
    post("/settings/domains/{domain}", page(settings.change_domain))
    get("/audit", page(settings.audit))
    get("/messages", page(lists.messages))
    get("/messages/{delivery}", page(lists.story))
    get("/suppressions", page(lists.suppressions))
    post("/suppressions", page(lists.suppress))
    post("/suppressions/remove", page(lists.send_again))
    get("/queue", page(lists.queue))
    post("/queue", page(lists.change_queue))
    post("/queue/pause", page(lists.pause))
    post("/queue/resume", page(lists.resume))


class Door:
    """Signing in and out."""

    def __init__(self, desk: Desk, throttle: Throttle, clients: ClientAddress) -> None:
        """Take what pages share, who counts attempts, and who knows the clients' addresses."""
        self._desk = desk
        self._throttle = throttle
        self._clients = clients

    async def form(self, request: web.Request) -> web.StreamResponse:
        """Show the form."""
        return self._form(request, 200, "")

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Check name and password, and begin a session."""
        check_origin(request)
        form = await request.post()
        name, password = str(form.get("name", "")).strip(), str(form.get("password", ""))
        keys = f"name:{name[:100]}", f"address:{self._clients.of(request)}"
        if not self._throttle.allows(*keys):
            return self._form(request, 429, "Too many attempts; wait some minutes.")
        who = None
        if len(password) <= _MOST_PASSWORD:
            self._throttle.failed(*keys)  # counted before the check: many at once are many
            who = await self._desk.services.operators.sign_in(name, password)
        if who is None:
            return self._form(request, 403, "The name or the password is wrong.")
        self._throttle.passed(*keys)
        response = seen_other(local_path(request.query.get("to", "/")))
        response.set_cookie(
            self._desk.cookie,
            self._desk.sessions.begin(who),
            httponly=True,
            samesite="Lax",
            secure=self._desk.secure,
            path="/",
        )
        return response

    async def sign_out(self, visit: Visit) -> web.StreamResponse:
        """End the session."""
        desk = self._desk
        desk.sessions.end(visit.request.cookies.get(desk.cookie, ""))
        return seen_other("/login")

    def _form(self, request: web.Request, status: int, problem: str) -> web.Response:
        return self._desk.render(
            request, "login.html", title="Sign in", status=status, problem=problem
        )


class Files:
    """The files of scripts and styles, read once."""

    def __init__(self, folder: Path) -> None:
        """Read them all."""
        self._files: dict[str, tuple[bytes, str]] = {}
        for path in sorted(folder.rglob("*")):
            kind = _KINDS.get(path.suffix)
            if kind is not None:
                self._files[path.relative_to(folder).as_posix()] = (path.read_bytes(), kind)

    def address(self, name: str) -> str:
        """Give a file's address, with its hash."""
        content, _ = self._files[name]
        return f"/static/{name}?{hashlib.sha256(content).hexdigest()[:12]}"

    async def give(self, request: web.Request) -> web.Response:
        """Give a file."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise NotFoundError("there is no such file")
        content, kind = found
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)
