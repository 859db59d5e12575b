"""How the page looks, over reports that have numbers: languages, themes, a phone."""

from __future__ import annotations

import asyncio

import pytest
from selenium import webdriver

from tests.harness.page_browser import (
    Stage,
    figure,
    find,
    picture,
    sign_in,
    text_of,
    until,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


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
