"""A Maildir: everything is read once, nothing is lost, nothing stands in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.control.maildir import Maildir
from relay.errors import StorageError


async def test_mails_are_taken_and_moved(tmp_path: Path) -> None:
    taken: list[bytes] = []

    async def take(content: bytes) -> None:
        taken.append(content)

    watched = Maildir(tmp_path / "drop", take, max_octets=10)
    assert await watched.read() == 0
    new = tmp_path / "drop" / "new"
    (new / "1.a").write_bytes(b"one")
    (new / "2.b:2,").write_bytes(b"two")
    (new / "3.c").write_bytes(b"longer than ten octets")
    (new / ".hidden").write_bytes(b"not delivered yet")
    assert await watched.read() == 3
    assert taken == [b"one", b"two"]
    assert sorted(path.name for path in (tmp_path / "drop" / "cur").iterdir()) == [
        "1.a:2,S",
        "2.b:2,S",
        "3.c:2,S",
    ]
    assert dict(watched.counts) == {"read": 2, "passed_over": 1}
    assert await watched.read() == 0


async def test_a_mail_stays_until_its_facts_are_kept(tmp_path: Path) -> None:
    async def refuse(_content: bytes) -> None:
        raise StorageError("the ledger is away")

    watched = Maildir(tmp_path, refuse, max_octets=10)
    await watched.read()
    (tmp_path / "new" / "1.a").write_bytes(b"one")
    with pytest.raises(StorageError):
        await watched.read()
    assert (tmp_path / "new" / "1.a").exists()
