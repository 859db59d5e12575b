"""What an operator does on the page: signing in, switches, suppressions, the queue."""

from __future__ import annotations

import asyncio

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.harness.page_browser import (
    Stage,
    figure,
    find,
    picture,
    sign_in,
    text_of,
    until,
)
from tests.harness.provision import must

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


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
