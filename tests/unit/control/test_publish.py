"""Snapshot and feed: the steps lead from one value to the other, the file is whole or old."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.control.publish import Publisher, difference, read_snapshot, replace_file
from relay.settings import (
    Account,
    Blocks,
    Credential,
    Pause,
    SendingDomain,
    Settings,
    Switch,
    advance,
)

_names = some.sampled_from(["a.test", "b.test", "c.test"])
_switches = some.sampled_from([Switch.ON, Switch.OFF])
_settings = some.builds(
    Settings,
    version=some.just(5),
    accounts=some.dictionaries(
        some.integers(1, 3), some.builds(Account, id=some.just(1), name=_names, clicks=_switches)
    ),
    credentials=some.dictionaries(
        _names,
        some.builds(
            Credential,
            id=some.just(1),
            account=some.just(1),
            login=_names,
            secret_sha256=some.binary(max_size=3),
            revoked=some.booleans(),
        ),
    ),
    domains=some.dictionaries(
        _names,
        some.builds(SendingDomain, id=some.integers(1, 2), account=some.just(1), name=_names),
    ),
    blocks=some.builds(Blocks, campaigns=some.frozensets(some.integers(0, 2**64 - 1), max_size=2)),
    pause=some.builds(
        Pause, campaigns=some.frozensets(some.tuples(some.integers(1, 3), _names), max_size=2)
    ),
)


@given(_settings, _settings)
def test_the_steps_lead_from_the_old_to_the_new(old: Settings, new: Settings) -> None:
    """One step per changed row, numbered without a gap, through the frame's own encoding."""
    held = old
    steps = difference(old, new)
    for step in steps:
        wire = msgspec.msgpack.encode(step)
        held = advance(held, msgspec.msgpack.decode(wire, type=type(step)))
    assert held == msgspec.structs.replace(new, version=old.version + len(steps))
    if old == new:
        assert steps == []


@given(_settings)
def test_a_snapshot_is_read_as_it_was_written(settings: Settings) -> None:
    """The file format loses nothing."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(settings), type=Settings) == settings


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask; a reader that has it open keeps the old one."""
    path = tmp_path / "made" / "file"
    before = os.umask(0)
    try:
        replace_file(path, b"old")
        with path.open("rb") as reader:
            replace_file(path, b"new and longer")
            assert reader.read() == b"old"
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new and longer"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["file"]


async def test_a_snapshot_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The error stands in `snapshot_error`; it goes when writing works again."""
    in_the_way = tmp_path / "snapshot"
    in_the_way.write_text("a file where a folder is needed")
    publisher = Publisher(in_the_way / "settings.msgpack")
    await publisher.start()
    assert str(in_the_way) in publisher.snapshot_error
    in_the_way.unlink()
    await publisher.start()
    assert publisher.snapshot_error == ""
    assert read_snapshot(in_the_way / "settings.msgpack") == Settings()


@pytest.mark.parametrize("after", [0, 3])
def test_without_a_feed_there_is_nothing_to_replay(after: int, tmp_path: Path) -> None:
    """A worker that is behind reads the snapshot."""
    assert Publisher(tmp_path / "x").replay(after) == []
