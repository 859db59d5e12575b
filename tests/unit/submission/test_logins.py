"""A login in use asks the settings again when they changed, and keeps none of them in memory."""

from __future__ import annotations

import sys

import msgspec

from relay.settings import Account, Credential, Settings
from relay.submission.logins import Login

APP = Credential(id=1, account=1, login="app", secret_sha256=b"x" * 32)
SHOP = Account(id=1, name="shop")
FIRST = Settings(version=1, accounts={1: SHOP}, credentials={"app": APP})


def test_an_idle_session_keeps_no_settings_alive() -> None:
    in_force = [msgspec.structs.replace(FIRST)]
    before = sys.getrefcount(in_force[0])
    login = Login(APP, lambda: in_force[0])
    assert login.still_valid()
    after = sys.getrefcount(in_force[0])
    assert after == before


def test_a_new_version_is_asked_again() -> None:
    current = FIRST
    login = Login(APP, lambda: current)
    assert login.still_valid()
    assert login.still_valid()
    revoked = msgspec.structs.replace(APP, revoked=True)
    current = msgspec.structs.replace(FIRST, version=2, credentials={"app": revoked})
    assert not login.still_valid()
    suspended = msgspec.structs.replace(SHOP, suspended=True)
    current = msgspec.structs.replace(FIRST, version=3, accounts={1: suspended})
    assert not login.still_valid()
    current = msgspec.structs.replace(FIRST, version=4)
    assert login.still_valid()


def test_settings_that_never_changed_are_asked_as_well() -> None:
    none_yet = Settings()  # version 0
    assert not Login(APP, lambda: none_yet).still_valid()
