"""The operator's page in a real browser, on a running relay with real mail.

With WAYPOST_TEST_SCREENSHOTS set to a folder the same run writes the pictures of docs/images there.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from relay.sandbox.actor import BROWSER
from relay.sandbox.reading import read
from relay.sandbox.sink import Sink
from tests.harness.chromium import chromium, messages_of
from tests.harness.provision import must, provision
from tests.harness.relay_under_test import ROOT, RelayUnderTest

PASSWORD = "correct horse battery"
CAMPAIGN = "spring 春季"
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
NEWS_SECONDS = 10  # below the 15 seconds after which a report asks by itself

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


@dataclass
class Stage:
    """A running relay with a tenant, and the sink behind it."""

    relay: RelayUnderTest
    sink: Sink
    account: int
    folder: Path
    read: set[int] = field(default_factory=set)

    @property
    def url(self) -> str:
        host, port = self.relay.address("admin")
        return f"http://{host}:{port}"

    async def submit(self, count: int, *, campaign: str = CAMPAIGN, subject: str = "Hi") -> None:
        """Submit mail, and wait until the sink has it."""
        before = len(self.sink.bodies)

        def work() -> None:
            host, port = self.relay.address("plain")
            with smtplib.SMTP(host, port) as smtp:
                for number in range(count):
                    to = f"r{before + number}@inbox.test"
                    text = (
                        f"From: News <news@news.test>\r\nTo: {to}\r\nSubject: {subject}\r\n"
                        f"X-Waypost-Campaign: {campaign}\r\nX-Waypost-Template: first\r\n"
                        "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
                        '<html><body><a href="https://www.shop.test/a?x=1">a</a></body></html>\r\n'
                    )
                    smtp.sendmail("news@news.test", [to], text.encode())

        await asyncio.to_thread(work)

        async def there() -> bool:
            return len(self.sink.bodies) >= before + count

        await self.relay.until(there, "the mail to arrive")

    async def open_and_click(self, count: int) -> None:
        """Let recipients who have not done so yet open and click."""
        todo = [at for at in range(len(self.sink.bodies)) if at not in self.read][:count]
        headers = {"User-Agent": BROWSER}
        async with aiohttp.ClientSession(headers=headers) as session:
            for at in todo:
                found = read(self.sink.bodies[at])
                for address in (found.images[0], found.links[0]):
                    async with session.get(address, allow_redirects=False) as answer:
                        await answer.read()
                self.read.add(at)

    async def stats(self, *measures: str) -> dict[str, Any]:
        query = "&".join(f"measures={name}" for name in measures)
        answer = await must(self.relay, "GET", f"/domains/news.test/stats?{query}")
        return dict(answer["rows"][0]["values"]) if answer["rows"] else {}


async def make_operator(relay: RelayUnderTest) -> None:
    """Make the operator as a person does: by the command, against the running server."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "--config", str(relay.config)),
        *("operator", "add", "ada", "--password-stdin"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    said, _ = await running.communicate(f"{PASSWORD}\n".encode())
    assert (running.returncode, said) == (0, b"done\n")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("page")
    sink = Sink()
    host, port = await sink.start()
    delivery = {"mode": "smarthost", "smarthost": f"{host}:{port}", "smarthost_tls": "none"}
    relay = RelayUnderTest(folder / "relay", settings={"delivery": delivery})
    try:
        async with relay:
            tenant = await provision(
                relay,
                tracked=("news.test",),
                untracked=("plain.test", "other.test"),
                passwordless=True,
            )
            await make_operator(relay)
            yield Stage(relay, sink, tenant.account, folder)
    finally:
        await sink.close()


@pytest.fixture
def browser(stage: Stage) -> Iterator[webdriver.Chrome]:
    downloads = stage.folder / "downloads"
    downloads.mkdir(exist_ok=True)
    with chromium(downloads=str(downloads)) as running:
        yield running
        wrong = [one["message"] for one in messages_of(running) if one["level"] == "SEVERE"]
        wrong = [text for text in wrong if "status of 403" not in text]
        assert wrong == [], "no script failed and nothing ran against the policy"


def until(browser: webdriver.Chrome, holds: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for something that a browser shows."""
    anew = [NoSuchElementException, StaleElementReferenceException]  # drawn at this very moment
    waiting = WebDriverWait(browser, seconds, poll_frequency=0.1, ignored_exceptions=anew)
    return waiting.until(lambda _: holds())


def find(browser: webdriver.Chrome, css: str) -> WebElement:
    return until(browser, lambda: browser.find_element(By.CSS_SELECTOR, css))  # type: ignore[no-any-return]


def sign_in(browser: webdriver.Chrome, url: str, password: str = PASSWORD) -> None:
    browser.get(f"{url}/login")
    find(browser, "input[name=name]").send_keys("ada")
    find(browser, "input[name=password]").send_keys(password, Keys.ENTER)
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "nav, [role=alert]"))


def picture(browser: webdriver.Chrome, name: str) -> None:
    """Keep a picture of the page, if the run is asked for them."""
    folder = os.environ.get("WAYPOST_TEST_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def text_of(browser: webdriver.Chrome, css: str) -> str:
    """Give the text of what may be drawn anew at any moment, "" when it is not there."""
    script = "return document.querySelector(arguments[0])?.innerText ?? ''"
    return str(browser.execute_script(script, css))


def figure(browser: webdriver.Chrome, measure: str) -> str:
    return text_of(browser, f"#w-figures [data-measure={measure}] dd")


def order(browser: webdriver.Chrome) -> list[tuple[str, str]]:
    return [
        (str(one.get_attribute("data-id")), str(one.get_attribute("data-width")))
        for one in browser.find_elements(By.CSS_SELECTOR, "#report .widget:not([hidden])")
    ]


async def test_one_signs_in_with_the_right_password_only(
    stage: Stage, browser: webdriver.Chrome
) -> None:
    def work() -> None:
        browser.get(f"{stage.url}/settings")
        assert "/login" in browser.current_url
        sign_in(browser, stage.url, "wrong horse battery")
        assert "wrong" in find(browser, "[role=alert]").text
        sign_in(browser, stage.url)
        assert browser.find_elements(By.CSS_SELECTOR, "nav a[aria-current=page]")
        for cookie in browser.get_cookies():
            assert cookie["httpOnly"] or cookie["name"] == "language"
        find(browser, ".corner form button").click()
        until(browser, lambda: "/login" in browser.current_url)
        browser.get(f"{stage.url}/settings")
        assert "/login" in browser.current_url

    await asyncio.to_thread(work)


async def test_a_switch_moves_after_the_second_confirmation_only(
    stage: Stage, browser: webdriver.Chrome
) -> None:
    async def switches() -> dict[str, tuple[str, str]]:
        found = await must(stage.relay, "GET", "/domains")
        return {one["name"]: (one["opens"], one["clicks"]) for one in found["items"]}

    def ask_for_a_batch() -> None:
        sign_in(browser, stage.url)
        browser.get(f"{stage.url}/settings?search=.test")
        for name in ("plain.test", "other.test"):
            find(browser, f"input[name=domain][value='{name}']").click()
        Select(find(browser, "#batch select[name=clicks]")).select_by_value("on")
        find(browser, "#batch fieldset button").click()
        assert find(browser, "#summary").text == "2 domains will start rewriting links"
        picture(browser, "confirmation")

    before = await switches()
    await asyncio.to_thread(ask_for_a_batch)
    assert await switches() == before, "asking changes nothing"
    await asyncio.to_thread(lambda: find(browser, "#confirm").click())
    await asyncio.to_thread(lambda: find(browser, ".done"))
    changed = await switches()
    assert changed["plain.test"] == changed["other.test"] == ("inherit", "on")
    assert changed["news.test"] == before["news.test"]

    def ask_for_the_account() -> None:
        form = f"#account-{stage.account}"
        Select(find(browser, f"{form} select[name=clicks]")).select_by_value("optional")
        find(browser, f"{form} button").click()
        kept = find(browser, "#keep").text
        assert all(name in kept for name in ("news.test", "plain.test", "other.test"))
        find(browser, "#reset-too").click()
        until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, "#keep"))

    await asyncio.to_thread(ask_for_the_account)
    assert await switches() == changed
    await asyncio.to_thread(lambda: find(browser, "#confirm").click())
    await asyncio.to_thread(lambda: find(browser, ".done"))
    assert {clicks for _, clicks in (await switches()).values()} == {"inherit"}
    await asyncio.to_thread(picture, browser, "settings")
    change = {"account": stage.account, "domains": ["news.test"], "clicks": "on", "opens": "on"}
    answer = await must(stage.relay, "POST", "/tracking", change)
    await must(stage.relay, "POST", "/tracking", {**change, "confirm": answer["confirm"]})
    actors = (await must(stage.relay, "GET", "/audit?action=tracking.set"))["items"]
    assert [one["actor"].rpartition(":")[2] for one in actors[1:3]] == ["ada", "ada"]


async def test_numbers_move_by_themselves_while_mail_flows(
    stage: Stage, browser: webdriver.Chrome
) -> None:
    await stage.submit(3)

    def look() -> None:
        sign_in(browser, stage.url)
        find(browser, "a[href*='kind=campaign']:not([href$='name='])").click()
        until(browser, lambda: find(browser, "#live").get_attribute("class") == "on")
        until(browser, lambda: figure(browser, "delivered") == "3")
        browser.execute_script("window.unchanged = true")

    await asyncio.to_thread(look)
    await stage.submit(4)
    await stage.open_and_click(5)

    def moved() -> None:
        until(browser, lambda: figure(browser, "delivered") == "7", NEWS_SECONDS)
        until(browser, lambda: figure(browser, "opened") == "5", NEWS_SECONDS)
        until(browser, lambda: figure(browser, "clicked") == "5", NEWS_SECONDS)
        assert browser.execute_script("return window.unchanged"), "the page was not loaded again"
        find(browser, "#w-chart canvas")
        until(browser, lambda: "https://www.shop.test/a?x=1" in text_of(browser, "#w-links"))
        until(browser, lambda: "7" in text_of(browser, "#w-progress label"))
        browser.set_window_size(1280, 1500)
        find(browser, "#w-sending table")
        picture(browser, "report")

    await asyncio.to_thread(moved)
    numbers = await stage.stats("delivered", "opened", "clicked")
    assert numbers == {"delivered": 7, "opened": 5, "clicked": 5}


async def test_widgets_stay_where_they_were_put(stage: Stage, browser: webdriver.Chrome) -> None:
    def work() -> None:
        sign_in(browser, stage.url)
        address = f"{stage.url}/report?kind=domain&name=news.test"
        browser.get(address)
        find(browser, "#w-figures dd")
        first = order(browser)
        later = find(browser, "#w-figures [data-do=later]")
        later.send_keys(Keys.ENTER)  # the keyboard moves widgets too
        find(browser, "#w-errors [data-do=wider]").click()
        find(browser, "#w-platforms [data-do=remove]").click()
        changed = order(browser)
        assert changed[1] == ("figures", "4")
        assert ("errors", "2") in changed
        assert len(changed) == len(first) - 1
        browser.get(address)
        find(browser, "#w-figures dd")
        assert order(browser) == changed
        find(browser, "#removed summary").click()
        find(browser, "[data-add=platforms]").click()
        assert len(order(browser)) == len(first)
        find(browser, "#reset").click()
        assert order(browser) == first

    await asyncio.to_thread(work)


async def test_a_widgets_csv_is_the_apis(stage: Stage, browser: webdriver.Chrome) -> None:
    await stage.submit(1)

    def download(css: str, name: str) -> bytes:
        path = stage.folder / "downloads" / name
        find(browser, css).click()
        until(browser, path.exists)
        return path.read_bytes()

    def work() -> tuple[bytes, bytes]:
        sign_in(browser, stage.url)
        browser.get(f"{stage.url}/report?kind=domain&name=news.test")
        find(browser, "#w-sending table")
        widget = download("#w-sending a.csv", "domain-sending.csv")
        browser.get(f"{stage.url}/statistics?sending_domain=news.test&group_by=campaign")
        find(browser, "#chart canvas")
        picture(browser, "statistics")
        return widget, download("#csv", "statistics.csv")

    sending, statistics = await asyncio.to_thread(work)
    measures = sending.decode("utf-8-sig").splitlines()[0].split(",", 2)[2]
    query = f"measures={measures}&group_by=campaign&order_by=sent&limit=20"
    _, csv = await stage.relay.ask("GET", f"/api/v1/domains/news.test/stats.csv?{query}")
    assert sending.startswith(b"\xef\xbb\xbf")
    assert sending.decode("utf-8-sig").splitlines() == csv.lstrip("\ufeff").splitlines()
    assert CAMPAIGN in csv
    measures = statistics.decode("utf-8-sig").splitlines()[0].split(",", 2)[2]
    query = f"measures={measures}&group_by=campaign&interval=day"
    _, csv = await stage.relay.ask("GET", f"/api/v1/domains/news.test/stats.csv?{query}")
    assert statistics.decode("utf-8-sig").splitlines() == csv.lstrip("\ufeff").splitlines()


async def test_hostile_texts_are_shown_as_texts(stage: Stage, browser: webdriver.Chrome) -> None:
    await stage.submit(1, campaign=HOSTILE, subject=HOSTILE)

    async def known() -> bool:
        found = await must(stage.relay, "GET", "/deliveries")
        return any(one["subject"] == HOSTILE for one in found["items"])

    await stage.relay.until(known, "the delivery to be in the log")

    def work() -> None:
        sign_in(browser, stage.url)
        browser.get(f"{stage.url}/messages")
        subjects = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "td.remote")]
        assert HOSTILE in subjects
        row = find(browser, "tbody tr th a")
        row.click()
        assert HOSTILE in find(browser, "dl").text
        picture(browser, "story")
        browser.get(f"{stage.url}/report?kind=domain&name=news.test")
        until(browser, lambda: HOSTILE in text_of(browser, "#w-sending"))
        assert browser.find_elements(By.CSS_SELECTOR, "main img, main script") == []
        browser.get(f"{stage.url}/")
        link = next(
            one for one in browser.find_elements(By.CSS_SELECTOR, "th a") if HOSTILE in one.text
        )
        link.click()
        assert HOSTILE in find(browser, "h1").text
        assert browser.title.startswith(HOSTILE)
        until(browser, lambda: figure(browser, "delivered") == "1")

    await asyncio.to_thread(work)


async def test_suppressions_and_queue_are_worked_with(
    stage: Stage, browser: webdriver.Chrome
) -> None:
    def work() -> None:
        sign_in(browser, stage.url)
        browser.get(f"{stage.url}/suppressions")
        find(browser, "main details summary").click()
        find(browser, "#suppress [name=recipient]").send_keys("Never@inbox.test")
        Select(find(browser, "#suppress [name=account]")).select_by_visible_text("tenant")
        find(browser, "#suppress button").click()
        find(browser, ".done")
        assert "never@inbox.test" in find(browser, "tbody").text
        find(browser, "tbody form button").click()
        until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, "tbody form"))
        browser.get(f"{stage.url}/queue")
        assert find(browser, "h1").text == "Queue"

    await asyncio.to_thread(work)


async def test_both_languages_both_themes_and_a_phone(
    stage: Stage, browser: webdriver.Chrome
) -> None:
    def work() -> None:
        sign_in(browser, stage.url)
        browser.get(f"{stage.url}/report?kind=domain&name=news.test")
        find(browser, "#w-figures dd")
        find(browser, ".corner a[hreflang=zh]").click()
        until(browser, lambda: "发信域名" in find(browser, "h1").text)
        until(browser, lambda: figure(browser, "delivered"))
        labels = text_of(browser, "#w-figures")
        assert all(word in labels for word in ("送达", "退回", "打开", "点击", "退订", "垃圾投诉"))
        assert find(browser, "html").get_attribute("lang") == "zh-CN"
        until(browser, lambda: find(browser, "#w-chart canvas"))
        ground = "return getComputedStyle(document.body).backgroundColor"
        before = browser.execute_script(ground)
        find(browser, "#theme").click()
        assert browser.execute_script(ground) != before
        find(browser, "#w-chart canvas")
        picture(browser, "report-zh-dark")
        browser.get(f"{stage.url}/settings")
        assert find(browser, "h1").text == "设置", "the language is kept"
        browser.set_window_size(390, 844)
        for path in ("/", "/report?kind=domain&name=news.test", "/settings", "/messages"):
            browser.get(stage.url + path)
            find(browser, "h1")
            wide = "return document.documentElement.scrollWidth - innerWidth"
            assert browser.execute_script(wide) <= 0, f"{path} is wider than a phone"
        browser.get(f"{stage.url}/report?kind=domain&name=news.test")
        until(browser, lambda: figure(browser, "delivered"))
        picture(browser, "report-phone")
        unnamed = browser.execute_script(
            "return [...document.querySelectorAll('button, a, input:not([type=hidden]), select')]"
            ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') ||"
            " e.labels?.length)).map(e => e.outerHTML)"
        )
        assert unnamed == [], "a screen reader has a name for everything that can be used"

    await asyncio.to_thread(work)
