"""Tracking switches over HTTP: asked for twice, bound to exactly one change, audited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.settings import Switch
from tests.harness.admin import AdminUnderTest, Reply, admin_under_test

NAMES = ("a.test", "b.test", "c.test", "own.test")


@pytest.fixture
def moment() -> list[int]:
    """Give the time that the admin under test goes by, in microseconds."""
    return [1_800_000_000_000_000]


@pytest.fixture
async def admin(tmp_path: Path, moment: list[int]) -> AsyncIterator[AdminUnderTest]:
    """Give an account with four domains, one of which keeps its own value."""
    async with admin_under_test(tmp_path, clock=lambda: moment[0]) as made:
        shop = await made.account("Shop")
        for name in NAMES:
            await made.domain(name, shop)
        await _switch(made, {"domains": ["own.test"], "clicks": "off", "opens": "on"})
        yield made


async def _ask(admin: AdminUnderTest, body: dict[str, Any], key: str | None = None) -> Reply:
    return await admin.ask("POST", "/tracking", body, key=key)


async def _switch(admin: AdminUnderTest, body: dict[str, Any]) -> dict[str, Any]:
    first = await _ask(admin, body)
    assert first.status == 200, first.text
    done = await _ask(admin, {**body, "confirm": first.json["confirm"]})
    assert done.status == 200, done.text
    assert done.json["done"]
    answer: dict[str, Any] = done.json
    return answer


def _clicks(admin: AdminUnderTest, domain: str) -> Switch:
    return admin.services.publisher.settings.domains[domain].clicks


async def test_the_first_call_only_says_what_would_happen(admin: AdminUnderTest) -> None:
    """It counts, names, offers, and changes nothing."""
    version = admin.services.publisher.version
    answer = (await _ask(admin, {"account": 1, "clicks": "on"})).json
    assert answer["consequence"]["summary"] == [
        "3 domains will start rewriting links",
        "1 domain keeps its own value",
    ]
    assert [one["domain"] for one in answer["consequence"]["effects"]] == list(NAMES[:3])
    assert answer["consequence"]["keep_own"] == [
        {"domain": "own.test", "switch": "clicks", "value": "off"}
    ]
    assert "reset" in answer["consequence"]["offer"]
    assert admin.services.publisher.version == version


async def test_the_second_call_does_it(admin: AdminUnderTest) -> None:
    """The account switches; the domain with its own value keeps it."""
    await _switch(admin, {"account": 1, "clicks": "on"})
    settings = admin.services.publisher.settings
    assert settings.accounts[1].clicks is Switch.ON
    assert _clicks(admin, "own.test") is Switch.OFF
    shown = (await admin.ask("GET", "/domains/a.test")).json
    assert shown["effective_clicks"] == {"value": "on", "level": "account"}


async def test_reset_takes_along_those_that_keep_their_own(admin: AdminUnderTest) -> None:
    """With the offer taken, all four follow the account; other switches stay."""
    done = await _switch(admin, {"account": 1, "clicks": "on", "reset": True})
    assert done["consequence"]["summary"] == ["4 domains will start rewriting links"]
    own = admin.services.publisher.settings.domains["own.test"]
    assert own.clicks is Switch.INHERIT
    assert own.opens is Switch.ON


async def test_a_confirmation_is_used_once(admin: AdminUnderTest) -> None:
    """The same code again is refused, even after the change was taken back."""
    asked = {"account": 1, "clicks": "on"}
    code = (await _ask(admin, asked)).json["confirm"]
    assert (await _ask(admin, {**asked, "confirm": code})).json["done"]
    assert (await _ask(admin, {**asked, "confirm": code})).status == 409
    await _switch(admin, {"account": 1, "clicks": "off"})
    assert (await _ask(admin, {**asked, "confirm": code})).status == 409
    assert admin.services.publisher.settings.accounts[1].clicks is Switch.OFF


@pytest.mark.parametrize(
    "other",
    [
        {"account": 1, "clicks": "optional"},
        {"account": 1, "opens": "on"},
        {"account": 1, "clicks": "on", "opens": "on"},
        {"account": 1, "clicks": "on", "reset": True},
        {"account": 2, "clicks": "on"},
        {"domains": ["a.test"], "clicks": "on"},
    ],
)
async def test_a_confirmation_fits_no_other_change(
    admin: AdminUnderTest, other: dict[str, Any]
) -> None:
    """Any field that differs, and the code does not fit."""
    await admin.account("Other")
    code = (await _ask(admin, {"account": 1, "clicks": "on"})).json["confirm"]
    version = admin.services.publisher.version
    assert (await _ask(admin, {**other, "confirm": code})).status == 409
    assert admin.services.publisher.version == version


async def test_a_confirmation_is_void_after_any_other_change(admin: AdminUnderTest) -> None:
    """What was shown must still be what would happen."""
    asked = {"account": 1, "clicks": "on"}
    code = (await _ask(admin, asked)).json["confirm"]
    await admin.domain("late.test", 1)
    assert (await _ask(admin, {**asked, "confirm": code})).status == 409


async def test_a_confirmation_is_of_one_caller(admin: AdminUnderTest) -> None:
    """What one was shown another cannot confirm."""
    asked = {"account": 1, "clicks": "on"}
    key = await admin.key(1, ["write"])
    code = (await _ask(admin, asked)).json["confirm"]
    assert (await _ask(admin, {**asked, "confirm": code}, key=key)).status == 409


async def test_a_confirmation_grows_old(admin: AdminUnderTest, moment: list[int]) -> None:
    """A quarter of an hour later it is void."""
    asked = {"account": 1, "clicks": "on"}
    code = (await _ask(admin, asked)).json["confirm"]
    moment[0] += 16 * 60 * 1_000_000
    answer = await _ask(admin, {**asked, "confirm": code})
    assert answer.status == 409
    assert "too old" in answer.json["detail"]


@pytest.mark.parametrize("code", ["x", "a" * 24, "1" * 24, "ä" * 24, "=" * 64])
async def test_an_invented_confirmation_fits_nothing(admin: AdminUnderTest, code: str) -> None:
    """Whatever is sent as a code, the answer is the same refusal."""
    answer = await _ask(admin, {"account": 1, "clicks": "on", "confirm": code})
    assert answer.status == 409


async def test_the_order_of_domains_is_no_other_change(admin: AdminUnderTest) -> None:
    """Domains are a set, and are compared in their regular form."""
    code = (await _ask(admin, {"domains": ["b.test", "A.test"], "clicks": "on"})).json["confirm"]
    asked = {"domains": ["a.test", "b.test."], "clicks": "on", "confirm": code}
    assert (await _ask(admin, asked)).json["done"]


async def test_nothing_to_change_needs_no_confirmation(admin: AdminUnderTest) -> None:
    """A change without effect gives no code."""
    answer = (await _ask(admin, {"account": 1, "clicks": "off"})).json
    assert answer["confirm"] == ""
    assert answer["consequence"]["summary"] == ["nothing would change"]


async def test_the_audit_says_who_what_before_and_after(admin: AdminUnderTest) -> None:
    """One row per change, with the values on both sides."""
    key = await admin.key(1, ["read", "write"])
    asked = {"domains": ["a.test", "own.test"], "clicks": "on"}
    code = (await _ask(admin, asked, key=key)).json["confirm"]
    await _ask(admin, {**asked, "confirm": code}, key=key)
    row = (await admin.ask("GET", "/audit?action=tracking.set", key=key)).json["items"][0]
    assert row["actor"].startswith("api-key:")
    assert row["before"]["domains"]["own.test"]["clicks"] == "off"
    assert row["after"]["domains"]["own.test"]["clicks"] == "on"
    assert row["after"]["summary"] == ["2 domains will start rewriting links"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"account": 1}, ""),
        ({"account": 1, "clicks": "inherit"}, ""),
        ({"account": 1, "clicks": "maybe"}, "clicks"),
        ({"account": 1, "outlook_links": False}, "domains"),
        ({"domains": ["a.test"], "clicks": "on", "reset": True}, "reset"),
        ({"domains": ["a.test"], "clicks": "on", "surprise": 1}, ""),
    ],
)
async def test_what_makes_no_sense_is_refused(
    admin: AdminUnderTest, body: dict[str, Any], field: str
) -> None:
    """With the field at fault."""
    answer = await _ask(admin, body)
    assert answer.status == 422, answer.text
    assert answer.json.get("field", "") == field


async def test_optional_and_other_settings_have_their_sentences(admin: AdminUnderTest) -> None:
    """Every kind of effect is said."""
    asked = {"domains": ["a.test"], "opens": "optional", "text_links": True}
    assert (await _ask(admin, asked)).json["consequence"]["summary"] == [
        "1 domain will count opens only where the message asks",
        "1 domain will take the other settings that were asked for",
    ]
