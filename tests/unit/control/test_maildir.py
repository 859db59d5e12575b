"""A Maildir: everything is read once, nothing is lost, nothing stands in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.control.maildir import Maildir
from relay.errors import StorageError
from relay.inbound.kept import Kept


async def test_mails_are_taken_and_moved(tmp_path: Path) -> None:
    taken: list[bytes] = []

    async def take(content: bytes) -> None:
        taken.append(content)

    watched = Maildir(tmp_path / "drop", take, kept=Kept(tmp_path / "kept"), max_octets=10)
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


@pytest.mark.parametrize(
    "problem", [StorageError("the ledger is away"), MemoryError(), OSError(28, "no space")]
)
async def test_a_mail_stays_until_its_facts_are_kept(tmp_path: Path, problem: Exception) -> None:
    async def refuse(_content: bytes) -> None:
        raise problem

    watched = Maildir(tmp_path, refuse, kept=Kept(tmp_path / "kept"), max_octets=10)
    await watched.read()
    (tmp_path / "new" / "1.a").write_bytes(b"one")
    with pytest.raises(type(problem)):
        await watched.read()
    assert (tmp_path / "new" / "1.a").exists()
    assert not (tmp_path / "kept").exists()


async def test_a_mail_that_breaks_the_reading_is_kept_and_stands_in_nobodys_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[bytes] = []

    async def take(content: bytes) -> None:
        if content == b"two":
            raise ValueError("a fault of ours")
        taken.append(content)

    kept = Kept(tmp_path / "kept")
    watched = Maildir(tmp_path, take, kept=kept, max_octets=10, clock=lambda: 7)
    await watched.read()
    for number, content in enumerate((b"one", b"two", b"three"), 1):
        (tmp_path / "new" / f"{number}.a").write_bytes(content)
    assert await watched.read() == 3
    assert taken == [b"one", b"three"]
    assert dict(watched.counts) == {"read": 2, "other": 1}
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [b"two"]
    assert (tmp_path / "cur" / "2.a:2,S").read_bytes() == b"two"
    assert list((tmp_path / "new").iterdir()) == []
    assert "a fault of ours" in caplog.text
