"""The operator's page in a real browser, on a running relay with real mail: what its tests share.

With WAYPOST_TEST_SCREENSHOTS set to a folder the same run writes the pictures of docs/images there.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from relay.sandbox.actor import BROWSER
from relay.sandbox.reading import read
from relay.sandbox.sink import Sink
from tests.harness.provision import must
from tests.harness.relay_under_test import ROOT, RelayUnderTest

PASSWORD = "correct horse battery"
CAMPAIGN = "spring 春季"


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


def forget(browser: webdriver.Chrome, url: str) -> None:
    """Make the browser one that was never here: no cookies, nothing stored."""
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    stored = {"origin": url, "storageTypes": "all"}
    browser.execute_cdp_cmd("Storage.clearDataForOrigin", stored)


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
