"""One relay and one Chromium for all tests of the page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from selenium import webdriver

from relay.sandbox.sink import Sink
from tests.harness.chromium import chromium, messages_of
from tests.harness.page_browser import Stage, forget, make_operator
from tests.harness.provision import provision
from tests.harness.relay_under_test import RelayUnderTest


@pytest_asyncio.fixture(scope="session", loop_scope="session")
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


@pytest.fixture(scope="session")
def one_chromium(stage: Stage) -> Iterator[webdriver.Chrome]:
    """Start the browser once."""
    downloads = stage.folder / "downloads"
    downloads.mkdir(exist_ok=True)
    with chromium(downloads=str(downloads)) as running:
        yield running


@pytest.fixture
def browser(one_chromium: webdriver.Chrome, stage: Stage) -> Iterator[webdriver.Chrome]:
    """Give the browser with nobody signed in, at its first size and language."""
    forget(one_chromium, stage.url)
    one_chromium.set_window_size(1280, 900)
    yield one_chromium
    wrong = [one["message"] for one in messages_of(one_chromium) if one["level"] == "SEVERE"]
    wrong = [text for text in wrong if "status of 403" not in text]
    assert wrong == [], "no script failed and nothing ran against the policy"
    one_chromium.get("about:blank")
