"""The commands as people call them: through a running server's socket, and without one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from relay.config_file import load
from relay.control.publish import read_snapshot
from relay.control.services import start_services
from relay.layout import Layout
from relay.ledger.engine import open_ledger
from relay.mail.keyring import KeyRing
from relay.settings import Switch
from relay.suppressions import Table
from relay.web.admin.app import build_admin_app

ROOT = Path(__file__).resolve().parents[2]


class Waypost:
    """Calls commands in a directory of their own."""

    def __init__(self, folder: Path) -> None:
        """Use `folder` as the data directory."""
        self._environment = {
            **{name: value for name, value in os.environ.items() if "WAYPOST_" not in name},
            "WAYPOST_NODE_DATA_DIR": str(folder),
            "PYTHONPATH": str(ROOT),
        }
        self.folder = folder

    async def call(self, *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
        """Run one command; give its exit status, standard output and standard error."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "relay",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=self.folder,
        )
        out, err = await process.communicate(given)
        return process.returncode or 0, out.decode(), err.decode()

    async def json(self, *arguments: str) -> Any:
        """Run a command that works, with --json."""
        status, out, err = await self.call(*arguments, "--json")
        assert status == 0, (arguments, status, err)
        return json.loads(out)


async def _whole_way(waypost: Waypost) -> None:
    """Do with commands what an operator does first."""
    account = await waypost.json("account", "create", "Shop")
    made = await waypost.json(
        "credential", "create", "--account", "Shop", "--network", "10.0.0.0/8"
    )
    assert made["credential"]["account"] == account["id"]
    assert len(made["password"]) == 32
    status, out, _ = await waypost.call("domain", "add", "shop.test", "--account", "Shop")
    assert status == 0
    assert "_domainkey.shop.test. IN TXT" in out
    switch = ("tracking", "set", "--account", "Shop", "--clicks", "on")
    status, out, _ = await waypost.call(*switch)
    assert status == 3
    assert "1 domain will start rewriting links" in out
    code = out.split("--confirm ")[1].strip()
    status, out, _ = await waypost.call(*switch, "--confirm", code)
    assert (status, out) == (0, "Done.\n")
    status, _, err = await waypost.call(*switch, "--confirm", code)
    assert status == 1
    assert "the confirmation is not for this change" in err
    assert (
        await waypost.json("tracking", "set", "--domain", "shop.test", "--opens", "on", "--yes")
    )["done"]
    await waypost.json("block", "add", "campaign", "spring", "--account", "Shop")
    await waypost.json("pause", "add", "domain", "shop.test")
    assert [one["value"] for one in await waypost.json("pause", "list")] == ["shop.test"]
    await waypost.json("pause", "remove", "1")
    await waypost.json("suppression", "add", "ann@inbox.test", "--account", "Shop")
    status, out, _ = await waypost.call(
        "suppression", "import", "-", "--account", "Shop", given=b"bob@inbox.test\nno\n"
    )
    assert status == 1
    assert "line 2" in out
    status, out, _ = await waypost.call("suppression", "export")
    assert [line.partition(",")[0] for line in out.splitlines()] == [
        "recipient",
        "ann@inbox.test",
        "bob@inbox.test",
    ]
    assert (await waypost.json("suppression", "remove", "bob@inbox.test", "--account", "1")) == {
        "removed": 1
    }
    key = await waypost.json("apikey", "create", "reader", "--account", "Shop", "--days", "7")
    assert key["key"].startswith("wpk_")
    assert (await waypost.json("stats"))["rows"][0]["values"]["sent"] == 0
    status, out, _ = await waypost.call("delivery", "messages", "--account", "Shop", "--csv")
    assert (status, out.split(",")[0]) == (0, "\ufeffmessage")
    assert await waypost.json("delivery", "messages", "--since", "2026-11-01") == []
    actions = {row["action"] for row in await waypost.json("audit")}
    assert {"account.create", "tracking.set", "suppression.import", "api-key.create"} <= actions
    held = read_snapshot(Layout(waypost.folder).snapshot)
    assert held.accounts[1].clicks is Switch.ON
    assert held.domains["shop.test"].opens is Switch.ON


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Waypost]:
    """Give commands beside a server that holds the ledger."""
    config = load(None, {"WAYPOST_NODE_DATA_DIR": str(tmp_path)})
    layout = Layout(config.data_dir)
    layout.prepare()
    async with open_ledger(config.ledger_url) as ledger:
        ring = KeyRing.load_or_create(layout.keyring)
        services = await start_services(ledger, ring, config, layout)
        runner = web.AppRunner(build_admin_app(services))
        await runner.setup()
        await web.UnixSite(runner, str(layout.admin_socket)).start()
        try:
            yield Waypost(tmp_path)
        finally:
            await runner.cleanup()
            await services.suppression_feed.finish()


@pytest.mark.timeout(180)
async def test_through_a_running_server(served: Waypost) -> None:
    """The whole way, while the server holds the ledger."""
    await _whole_way(served)


@pytest.mark.timeout(180)
async def test_without_a_server(tmp_path: Path) -> None:
    """Each command takes the lock, does it, and leaves what a server will find."""
    waypost = Waypost(tmp_path)
    await waypost.json("account", "create", "Shop")
    await waypost.json("domain", "add", "shop.test", "--account", "Shop")
    switch = ("tracking", "set", "--account", "Shop", "--clicks", "on")
    status, out, _ = await waypost.call(*switch)
    assert status == 3
    code = out.split("--confirm ")[1].strip()
    assert (await waypost.call(*switch, "--confirm", code))[:2] == (0, "Done.\n")
    await waypost.json("suppression", "add", "ann@inbox.test", "--account", "Shop")
    status, out, _ = await waypost.call("suppression", "export")
    assert "ann@inbox.test" in out
    layout = Layout(tmp_path)
    assert read_snapshot(layout.snapshot).accounts[1].clicks is Switch.ON
    assert len(Table(layout.suppressions)) == 1


@pytest.mark.timeout(120)
async def test_errors_are_plain_and_have_a_status(served: Waypost) -> None:
    """One line on standard error; 1 for a refusal, 2 for wrong usage."""
    for arguments, status, said in (
        (("account", "show", "nobody"), 1, "waypost: there is no account named 'nobody'\n"),
        (("domain", "show", "x.test"), 1, "waypost: there is no such sending domain\n"),
        (("credential", "revoke", "x"), 1, "waypost: there is no credential 'x'\n"),
        (("account", "create", "a\nb"), 1, "waypost: "),
        (("suppression", "import", "/nonexistent", "--account", "1"), 1, "waypost: /nonexistent"),
        (("account",), 2, "usage: "),
        (("account", "fly"), 2, "usage: "),
    ):
        found, out, err = await served.call(*arguments)
        assert (found, out) == (status, ""), arguments
        assert err.startswith(said), (arguments, err)
        assert "Traceback" not in err


async def test_the_lock_is_respected(tmp_path: Path) -> None:
    """A ledger that somebody has open, without a socket, is left alone."""
    Layout(tmp_path).prepare()
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"):
        status, _, err = await Waypost(tmp_path).call("account", "create", "Shop")
    assert status == 1
    assert "in use by another process" in err


async def test_a_socket_left_behind_is_no_server(tmp_path: Path) -> None:
    """After a kill the file is still there; commands work directly."""
    layout = Layout(tmp_path)
    layout.prepare()
    server = await asyncio.start_unix_server(lambda _r, _w: None, str(layout.admin_socket))
    server.close()
    await server.wait_closed()
    layout.admin_socket.touch()
    assert (await Waypost(tmp_path).json("account", "create", "Shop"))["id"] == 1
