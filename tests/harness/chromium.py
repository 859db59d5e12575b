"""Chromium for tests: headless, alone with a fresh profile, and without a word to the outside.

Guarantees: skips (or fails, see programs.py) visibly where Chromium or its driver is not installed;
the browser and its profile are gone when the context ends.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.harness.programs import need_program

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # the sandbox cannot be had as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
)


# Nothing but loopback can be reached, also not by accident.
_NOWHERE = "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"


@contextmanager
def chromium(
    *,
    language: str = "en",
    width: int = 1280,
    height: int = 900,
    downloads: str = "",
    loopback: str = "",
) -> Iterator[webdriver.Chrome]:
    """Give a running browser; `language` is what it asks servers for.

    Hosts that match the pattern `loopback` ("*.test") are this machine.
    """
    browser, driver = need_program("chromium"), need_program("chromedriver")
    profile = tempfile.mkdtemp(prefix="waypost-chromium-")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    rules = f"MAP {loopback} 127.0.0.1 , {_NOWHERE}" if loopback else _NOWHERE
    options.add_argument(f"--host-resolver-rules={rules}")
    for option in (*_OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(option)
    settings: dict[str, object] = {"intl.accept_languages": language}
    if downloads:
        settings["download.default_directory"] = downloads
    options.add_experimental_option("prefs", settings)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        running.set_page_load_timeout(30)
        yield running
    finally:
        running.quit()
        shutil.rmtree(profile, ignore_errors=True)


def messages_of(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """Give what the browser wrote to its console since the last call, with `level`, `message`."""
    return list(browser.get_log("browser"))  # type: ignore[no-untyped-call] # selenium's
