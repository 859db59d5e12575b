"""Operators: made, signed in, given another password, removed; and never a secret in an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from relay.control.caller import Scope
from relay.control.operations.operators import SignedIn
from tests.harness.admin import AdminUnderTest, admin_under_test

PASSWORD = "correct horse battery"


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[AdminUnderTest]:
    async with admin_under_test(tmp_path) as up:
        quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        up.services.operators._hasher = quick
        yield up


async def make(admin: AdminUnderTest, **more: object) -> SignedIn:
    made = await admin.ask("POST", "/operators", {"name": "ada", "password": PASSWORD, **more})
    assert made.status == 201, made.text
    assert made.json["password"] == ""
    who = await admin.services.operators.sign_in("ada", PASSWORD)
    assert who is not None
    return who


async def test_a_made_password_works_and_is_shown_once(admin: AdminUnderTest) -> None:
    made = await admin.ask("POST", "/operators", {"name": "ada"})
    password = made.json["password"]
    assert len(password) >= 24
    assert await admin.services.operators.sign_in("ada", password)
    assert not await admin.services.operators.sign_in("ada", password + "x")
    assert not await admin.services.operators.sign_in("nobody", password)
    shown = (await admin.ask("GET", "/operators")).text + (await admin.ask("GET", "/audit")).text
    assert password not in shown
    assert "argon2" not in shown


async def test_a_new_password_and_removal_end_what_was_begun(admin: AdminUnderTest) -> None:
    operators = admin.services.operators
    who = await make(admin)
    caller = await operators.caller_of(who)
    assert caller is not None
    assert caller.name == "operator:1:ada"
    assert caller.scopes == {Scope.ADMIN}
    await admin.ask("POST", "/operators/1/password", {"password": PASSWORD})
    assert await operators.caller_of(who) is None, "the same words again are another password"
    again = await operators.sign_in("ada", PASSWORD)
    assert again is not None
    assert (await admin.ask("DELETE", "/operators/1")).status == 204
    assert await operators.caller_of(again) is None
    assert await operators.sign_in("ada", PASSWORD) is None


async def test_one_of_an_account_sees_that_account_and_a_reader_writes_nothing(
    admin: AdminUnderTest,
) -> None:
    shop = await admin.account("Shop")
    caller = await admin.services.operators.caller_of(await make(admin, account=shop))
    assert caller is not None
    assert caller.account == shop
    assert caller.scopes == {Scope.READ, Scope.WRITE}
    body = {"name": "eve", "password": PASSWORD, "reads_only": True}
    assert (await admin.ask("POST", "/operators", body)).status == 201
    eve = await admin.services.operators.sign_in("eve", PASSWORD)
    assert eve is not None
    reader = await admin.services.operators.caller_of(eve)
    assert reader is not None
    assert reader.scopes == {Scope.READ}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "ada", "password": "short"}, 422),
        ({"name": "ada", "password": "x" * 201}, 422),
        ({"name": "a b"}, 422),
        ({"name": "ada", "account": 77}, 404),
        ({}, 422),
    ],
)
async def test_what_cannot_be_made(
    admin: AdminUnderTest, body: dict[str, object], status: int
) -> None:
    assert (await admin.ask("POST", "/operators", body)).status == status
    await make(admin)
    assert (await admin.ask("POST", "/operators", {"name": "ada"})).status == 409
