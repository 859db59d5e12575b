"""The page over HTTP, without a browser: doors, sessions, forms, escaping, words, files."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from argon2 import PasswordHasher
from msgspec.structs import replace

from metrics.catalogue import DIMENSIONS, describe
from metrics.events import Kind
from relay.clock import HOUR, MINUTE, now
from relay.control.operations.by_message import MessageEntry
from relay.control.services import Services
from relay.ledger.engine import Ledger
from relay.web.clients import ClientAddress
from relay.web.page import reports, words
from relay.web.page.app import add_page
from relay.web.page.desk import FOLDER, local_path
from relay.web.page.live import Live
from relay.web.page.sessions import TRIES
from relay.web.page.widgets import REPORTS
from tests.harness.admin import AdminUnderTest, Facts, admin_under_test

PASSWORD = "correct horse battery"
HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>'
PAGES = ("/", "/statistics", "/messages", "/queue", "/suppressions", "/settings", "/audit")


@dataclass
class Site:
    """The admin listener with its page, a clock, and a browser's cookies."""

    admin: AdminUnderTest
    clock: list[int]
    browser: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        url = self.admin.url + path
        async with self.browser.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def post(
        self,
        path: str,
        form: dict[str, str],
        *,
        follow: bool = True,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        url = self.admin.url + path
        async with self.browser.post(
            url, data=form, headers=headers, allow_redirects=follow
        ) as answer:
            return answer.status, await answer.text()

    async def sign_in(self, name: str = "ada", password: str = PASSWORD) -> int:
        form = {"name": name, "password": password}
        status, _ = await self.post("/login", form, follow=False)
        return status

    async def csrf(self) -> str:
        _, text = await self.get("/settings")
        found = re.search(r'name="csrf" value="([^"]+)"', text)
        assert found
        return found[1]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = [now()]

    def more(app: web.Application, services: Services, ledger: Ledger) -> None:
        services.operators._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        add_page(
            app,
            services,
            Live(ledger),
            secure=False,
            clients=ClientAddress(()),
            clock=lambda: clock[0],
        )

    async with (
        admin_under_test(tmp_path, clock=lambda: clock[0], more=more) as admin,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
    ):
        made = await admin.ask("POST", "/operators", {"name": "ada", "password": PASSWORD})
        assert made.status == 201
        yield Site(admin, clock, browser)


async def test_nothing_is_shown_without_a_session(site: Site) -> None:
    for page in (*PAGES, "/report?kind=domain&name=shop.test", "/report/data.json", "/report/live"):
        status, text = await site.get(page)
        assert (status, text) == (303, ""), page
    assert (await site.post("/settings/tracking", {}, follow=False))[0] == 303


async def test_every_page_is_shown_in_both_languages_under_a_strict_policy(site: Site) -> None:
    assert await site.sign_in() == 303
    account = await site.admin.account("Shop")
    await site.admin.domain("shop.test", account)
    for page in (*PAGES, "/report?kind=domain&name=shop.test", "/settings/domains/shop.test"):
        for language in ("en", "zh"):
            async with site.browser.get(
                site.admin.url + page, headers={"Accept-Language": language}
            ) as answer:
                text = await answer.text()
                assert answer.status == 200, (page, text)
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert ("退出登录" in text) == (language == "zh")
                assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>", text), page
                outside = re.findall(r'(?:src|href|action)="(?!/|data:,|#)([^"]*)"', text)
                assert [one for one in outside if not one.startswith("?")] == [], page


async def test_a_domains_settings_are_kept_by_its_form(site: Site) -> None:
    assert await site.sign_in() == 303
    await site.admin.domain("shop.test", await site.admin.account("Shop"))
    page = "/settings/domains/shop.test"
    form = {"csrf": await site.csrf(), "unsubscribe": "no", "failure_notices": "off"}
    assert (await site.post(page, form, follow=False))[0] == 303
    entry = (await site.admin.ask("GET", "/domains/shop.test")).json
    assert (entry["unsubscribe"], entry["failure_notices"], entry["pool"]) == (False, "off", "")
    status, text = await site.get(page)
    assert (status, "of this installation" in text) == (200, True)
    assert '<option value="off" selected>' in text


async def test_a_wrong_password_is_refused_and_tries_are_bounded(site: Site) -> None:
    for _ in range(TRIES):
        assert await site.sign_in(password="wrong horse battery") == 403
    assert await site.sign_in() == 429, "also with the right one"
    site.clock[0] += 11 * MINUTE
    assert await site.sign_in() == 303
    assert await site.sign_in(name="nobody") == 403


async def test_a_session_ends_by_signing_out_by_time_and_with_the_password(site: Site) -> None:
    assert await site.sign_in() == 303
    token = await site.csrf()
    assert (await site.post("/logout", {"csrf": token}, follow=False))[0] == 303
    assert (await site.get("/"))[0] == 303

    assert await site.sign_in() == 303
    site.clock[0] += 3 * HOUR
    assert (await site.get("/"))[0] == 303

    assert await site.sign_in() == 303
    assert (await site.get("/"))[0] == 200
    await site.admin.ask("POST", "/operators/1/password", {})
    assert (await site.get("/"))[0] == 303


async def test_a_layout_belongs_to_its_operator_in_every_browser(site: Site) -> None:
    made = await site.admin.ask("POST", "/operators", {"name": "eve", "password": PASSWORD})
    report, narrow = "/report?kind=domain&name=shop.test", '[{"id":"errors","width":2}]'

    async def shown() -> str:
        found = re.search('data-layout="([^"]*)"', (await site.get(report))[1])
        assert found
        return html.unescape(found[1])

    async def keep(layout: str, kind: str = "domain") -> int:
        form = {"csrf": await site.csrf(), "kind": kind, "layout": layout}
        return (await site.post("/report/layout", form, follow=False))[0]

    assert await site.sign_in() == 303
    assert await shown() == "null"
    assert await keep(narrow) == 204
    for broken in ("{}", "[", '[{"id":"x","width":9}]', '[{"id":"x","width":1,"more":1}]'):
        assert await keep(broken) == 422
    assert await keep(narrow, kind="other") == 422
    assert (await site.post("/report/layout", {"kind": "domain"}, follow=False))[0] == 403
    site.browser.cookie_jar.clear()  # another browser
    assert await site.sign_in() == 303
    assert await shown() == narrow
    assert await site.sign_in(name="eve") == 303
    assert await shown() == "null"
    assert await keep(narrow) == 204
    assert await keep("") == 204
    assert await shown() == "null"
    assert await keep(narrow) == 204
    await site.admin.ask("DELETE", f"/operators/{made.json['operator']['id']}")
    kept = "SELECT operator FROM page_layouts"
    rows = await site.admin.ledger.read(lambda c: c.exec_driver_sql(kept).fetchall())
    assert [row[0] for row in rows] == [1]


async def test_the_cookie_is_kept_from_scripts_and_other_sites(site: Site) -> None:
    form = {"name": "ada", "password": PASSWORD}
    async with site.browser.post(
        site.admin.url + "/login?to=//evil.test", data=form, allow_redirects=False
    ) as answer:
        assert answer.headers["Location"] == "/"
        cookie = answer.cookies["waypost"]
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"


async def test_a_form_of_another_site_or_without_its_token_changes_nothing(site: Site) -> None:
    assert await site.sign_in() == 303
    account = await site.admin.account("Shop")
    token = await site.csrf()
    form = {"account": str(account), "recipient": "ann@inbox.test", "scope": "account"}
    tries: tuple[tuple[dict[str, str], dict[str, str]], ...] = (
        (form, {}),
        ({**form, "csrf": "x" * 32}, {}),
        ({**form, "csrf": token}, {"Sec-Fetch-Site": "cross-site"}),
        ({**form, "csrf": token}, {"Origin": "https://evil.test"}),
    )
    for sent, headers in tries:
        assert (await site.post("/suppressions", sent, headers=headers))[0] == 403
    assert (await site.admin.ask("GET", "/suppressions")).json["items"] == []
    assert (await site.post("/suppressions", {**form, "csrf": token}))[0] == 200
    assert len((await site.admin.ask("GET", "/suppressions")).json["items"]) == 1


async def test_one_who_reads_only_changes_nothing_and_one_account_sees_itself(site: Site) -> None:
    shop, other = await site.admin.account("Shop"), await site.admin.account("Other")
    await site.admin.domain("shop.test", shop)
    await site.admin.domain("other.test", other)
    body = {"name": "eve", "password": PASSWORD, "account": shop, "reads_only": True}
    await site.admin.ask("POST", "/operators", body)
    assert await site.sign_in("eve") == 303
    _, text = await site.get("/settings")
    assert "shop.test" in text
    assert "other.test" not in text
    assert (await site.get("/settings/domains/other.test"))[0] == 404
    token = await site.csrf()
    form = {"csrf": token, "account": str(shop), "opens": "on"}
    assert (await site.post("/settings/tracking", form))[0] == 403


async def test_what_came_from_outside_is_written_as_text(site: Site) -> None:
    assert await site.sign_in() == 303
    account = await site.admin.account("Shop")
    facts = Facts(site.admin, site.clock)
    more: dict[str, Any] = {"campaign": HOSTILE, "subject": HOSTILE, "sender": HOSTILE}
    accepted = {"message": facts.delivery, "account": account, "sending_domain": "shop.test"}
    where = {"recipient": "ann@inbox.test", "recipient_domain": "inbox.test"}
    await facts.send(facts.event(Kind.ACCEPTED, **accepted, **where, **more))
    delivery = (await site.admin.ask("GET", "/deliveries")).json["items"][0]["id"]
    for page in ("/", "/messages", f"/messages/{delivery}"):
        status, text = await site.get(page)
        assert status == 200
        assert "owned" in text
        assert "<script>document" not in text
        assert "<img" not in text


async def test_a_long_table_shows_the_largest_and_the_csv_has_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a hundred thousand cells would be of no use to anybody."""
    assert await site.sign_in() == 303
    account = await site.admin.account("Shop")
    for domains in (("few.test",), ("many.test", "many.test")):
        for number, domain in enumerate(domains):
            facts = Facts(site.admin, site.clock, spool=f"{domain}-{number}")
            accepted = facts.event(
                Kind.ACCEPTED,
                message=facts.delivery,
                account=account,
                sending_domain="shop.test",
                recipient=f"ann{number}@{domain}",
                recipient_domain=domain,
            )
            await facts.send(replace(accepted, delivery=facts.delivery + 10 * number + len(domain)))
    asked = "?group_by=recipient_domain&interval=total"
    _, whole = await site.get(f"/statistics{asked}")
    assert "few.test" in whole
    assert "Only the largest" not in whole
    monkeypatch.setattr(reports, "_MOST_GROUPS", 1)
    _, cut = await site.get(f"/statistics{asked}")
    assert "many.test" in cut
    assert "few.test" not in cut
    assert "Only the largest" in cut
    _, csv = await site.get(f"/statistics.csv{asked}")
    assert ("few.test" in csv, "many.test" in csv) == (True, True)


def test_every_text_of_the_page_is_in_both_languages() -> None:
    said = set(words.MEASURES.values()) | set(words.DIMENSIONS.values())
    said |= {one.title for widgets in REPORTS.values() for one in widgets}
    for template in (FOLDER / "templates").glob("*.html"):
        text = template.read_text("utf-8")
        said |= {found[1] for found in re.finditer(r"""\bt\((["'])(.*?)\1""", text)}
        said -= {'"', "'"}
        said |= {found[2] for found in re.finditer(r"""\bt\((["'])(.*?)\1""", text)}
    for source in FOLDER.glob("*.py"):
        said |= set(re.findall(r'\btitle="([^"]+)"', source.read_text("utf-8")))
    said -= {"'", '"', "error"}
    assert [one for one in sorted(said) if one not in words.CHINESE.texts] == []


def test_widgets_ask_for_what_there_is_and_every_measure_has_a_name() -> None:
    for widgets in REPORTS.values():
        for one in widgets:
            there = describe() if one.path == "/stats" else MessageEntry.__struct_fields__
            for name in one.measures.split(","):
                assert name in there
                assert name in words.MEASURES
            assert not one.group_by or one.group_by in DIMENSIONS


def test_the_chart_library_is_the_pinned_one() -> None:
    folder = FOLDER / "static" / "uplot"
    rows = re.findall(r"\| `(.+?)` \| `([0-9a-f]{64})` \|", (folder / "README.md").read_text())
    assert len(rows) == 2
    for name, digest in rows:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    "text", ["//evil.test", "/\\evil.test", "https://evil.test", "", "/a\nb", "/é"]
)
def test_one_is_only_sent_back_to_this_server(text: str) -> None:
    assert local_path(text) == "/"
    assert local_path("/report?kind=domain&name=a") == "/report?kind=domain&name=a"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("zh-CN,zh;q=0.9", "zh"), ("de, en;q=0.5, zh;q=0.4", "en"), ("", "en"), ("x;q=y,zh", "zh")],
)
def test_the_browsers_language_is_taken(accepted: str, language: str) -> None:
    assert words.wanted("", "", accepted) == language


def test_consequences_are_said_in_chinese() -> None:
    assert words.sentence("zh", "12 domains will start rewriting links") == (
        "12 个域名将开始改写链接"
    )
    assert words.sentence("en", "1 domain keeps its own value") == "1 domain keeps its own value"
