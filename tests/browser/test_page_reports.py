"""The live report in a real browser: numbers that move, widgets, CSV."""

from __future__ import annotations

import asyncio
import json

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.harness.page_browser import (
    CAMPAIGN,
    Stage,
    figure,
    find,
    forget,
    order,
    picture,
    sign_in,
    text_of,
    until,
)

NEWS_SECONDS = 10  # below the 15 seconds after which a report asks by itself

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


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
        until(browser, lambda: text_of(browser, "#w-messages tbody").count("first") == 7)
        browser.set_window_size(1280, 1500)
        find(browser, "#w-sending table")
        picture(browser, "report")

    await asyncio.to_thread(moved)
    numbers = await stage.stats("delivered", "opened", "clicked")
    assert numbers == {"delivered": 7, "opened": 5, "clicked": 5}


async def test_widgets_stay_where_they_were_put(stage: Stage, browser: webdriver.Chrome) -> None:
    """By keyboard and by dragging; in another browser too, because they belong to the operator."""

    def kept() -> list[tuple[str, str]]:
        """Wait until the server has the layout that is shown."""
        shown = order(browser)
        text = json.dumps([{"id": id_, "width": int(width)} for id_, width in shown])
        script = "return document.querySelector('#report').dataset.kept ?? '[]'"
        until(browser, lambda: json.loads(browser.execute_script(script)) == json.loads(text))
        return shown

    def work() -> None:
        sign_in(browser, stage.url)
        address = f"{stage.url}/report?kind=domain&name=news.test"
        browser.get(address)
        find(browser, "#w-figures dd")
        first = order(browser)
        find(browser, "#w-figures [data-do=later]").send_keys(Keys.ENTER)
        find(browser, "#w-errors [data-do=wider]").send_keys(Keys.SPACE)
        find(browser, "#w-platforms [data-do=remove]").send_keys(Keys.ENTER)
        changed = kept()
        assert changed[1] == ("figures", "4")
        assert ("errors", "2") in changed
        assert len(changed) == len(first) - 1

        grip = find(browser, "#w-bounces .grip")
        column = find(browser, "#w-bounces").size["width"] // 2
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", grip)
        ActionChains(browser).drag_and_drop_by_offset(grip, column, 0).perform()
        until(browser, lambda: ("bounces", "3") in order(browser))
        head, target = find(browser, "#w-chart h2"), find(browser, "#w-progress h2")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
        ActionChains(browser).drag_and_drop(head, target).perform()
        until(browser, lambda: order(browser)[0][0] == "chart")
        dragged = kept()

        forget(browser, stage.url)
        sign_in(browser, stage.url)
        browser.get(address)
        find(browser, "#w-figures dd")
        assert order(browser) == dragged
        find(browser, "#removed summary").click()
        find(browser, "[data-add=platforms]").click()
        assert len(order(browser)) == len(first)
        find(browser, "#reset").click()
        assert order(browser) == first
        until(browser, lambda: find(browser, "#report").get_attribute("data-kept") == "")

    await asyncio.to_thread(work)


async def test_a_widgets_csv_is_the_apis(stage: Stage, browser: webdriver.Chrome) -> None:
    await stage.submit(1)

    def download(css: str, name: str) -> bytes:
        path = stage.folder / "downloads" / name
        find(browser, css).click()
        until(browser, path.exists)
        return path.read_bytes()

    def work() -> tuple[bytes, bytes, bytes]:
        sign_in(browser, stage.url)
        browser.get(f"{stage.url}/report?kind=domain&name=news.test")
        find(browser, "#w-sending table")
        widget = download("#w-sending a.csv", "domain-sending.csv")
        messages = download("#w-messages a.csv", "domain-messages.csv")
        browser.get(f"{stage.url}/statistics?sending_domain=news.test&group_by=campaign")
        find(browser, "#chart canvas")
        picture(browser, "statistics")
        return widget, messages, download("#csv", "statistics.csv")

    sending, messages, statistics = await asyncio.to_thread(work)
    measures = sending.decode("utf-8-sig").splitlines()[0].split(",", 2)[2]
    query = f"measures={measures}&group_by=campaign&order_by=sent&limit=20"
    _, csv = await stage.relay.ask("GET", f"/api/v1/domains/news.test/stats.csv?{query}")
    assert sending.startswith(b"\xef\xbb\xbf")
    assert sending.decode("utf-8-sig").splitlines() == csv.lstrip("\ufeff").splitlines()
    assert CAMPAIGN in csv
    _, csv = await stage.relay.ask("GET", "/api/v1/messages.csv?sending_domain=news.test")
    assert messages.decode("utf-8-sig").splitlines() == csv.lstrip("\ufeff").splitlines()
    assert csv.count(CAMPAIGN) == len(stage.sink.bodies)
    measures = statistics.decode("utf-8-sig").splitlines()[0].split(",", 2)[2]
    query = f"measures={measures}&group_by=campaign&interval=day"
    _, csv = await stage.relay.ask("GET", f"/api/v1/domains/news.test/stats.csv?{query}")
    assert statistics.decode("utf-8-sig").splitlines() == csv.lstrip("\ufeff").splitlines()
