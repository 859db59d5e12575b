"""The suppression table and the notices: in force at once, on every process, and never misread."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.clock import DAY
from relay.mail.keyring import KeyRing
from relay.notices import Notice, NoticeBoard
from relay.suppressions import (
    REASONS,
    RecipientHash,
    Suppressions,
    Table,
    entry_in_account,
    entry_in_campaign,
    entry_in_domain,
    entry_untracked,
    write_table,
)

RING = KeyRing.of(b"a fixed secret of the tests, 32+")


def test_a_table_finds_its_entries_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "table"
    entries = {
        entry_in_account(1, number): REASONS[number % len(REASONS)] for number in range(5000)
    }
    assert write_table(path, entries.items(), 7) == 5000
    table = Table(path)
    assert len(table) == 5000
    assert table.as_of == 7
    assert {entry: table.reason(entry) for entry in entries} == entries
    assert not any(table.reason(entry_in_account(2, number)) for number in range(5000))
    assert path.stat().st_mode & 0o077 == 0


def test_an_empty_table_suppresses_nobody(tmp_path: Path) -> None:
    write_table(tmp_path / "table", [], 0)
    assert Table(tmp_path / "table").reason(5) == ""


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table"
    write_table(path, [(5, "manual")], 0)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a suppression table"):
        Table(path)


def test_scopes_are_apart_and_any_of_them_counts(tmp_path: Path) -> None:
    known = Suppressions(tmp_path / "table")
    ann = RecipientHash(RING).of("ann@inbox.test")
    assert known.reason(1, "shop.test", 9, ann) == ""
    known.note(entry_in_campaign(9, ann), "manual", 1)
    assert known.reason(1, "shop.test", 9, ann) == "manual"
    assert known.reason(1, "shop.test", 8, ann) == ""
    known.note(entry_in_domain(1, "shop.test", ann), "unsubscribe", 1)
    assert known.reason(1, "shop.test", 8, ann) == "unsubscribe"
    assert known.reason(1, "other.test", 8, ann) == ""
    assert known.reason(2, "shop.test", 8, ann) == ""
    known.note(entry_in_account(1, ann), "complaint", 1)
    assert known.reason(1, "other.test", 8, ann) == "complaint"


def test_addresses_are_compared_without_case() -> None:
    of = RecipientHash(RING).of
    assert of("Ann@Inbox.TEST") == of("ann@inbox.test")
    assert of("ann@inbox.test") != of("bob@inbox.test")
    assert of("ann@münchen.test") == of("ann@xn--mnchen-3ya.test")


def test_the_later_word_wins_and_a_new_table_takes_over(tmp_path: Path) -> None:
    known = Suppressions(tmp_path / "table")
    entry = entry_in_account(1, 5)
    known.note(entry, "", 20)  # taken out
    known.note(entry, "manual", 10)  # an older word arrives late
    assert known.reason(1, "", 0, 5) == ""
    write_table(tmp_path / "table", [(entry, "complaint")], 15)
    known.reload()
    assert known.reason(1, "", 0, 5) == ""  # newer than the table
    write_table(tmp_path / "table", [(entry, "complaint")], 30)
    known.reload()
    assert known.reason(1, "", 0, 5) == "complaint"


def test_what_was_found_clear_is_so_until_anything_changes(tmp_path: Path) -> None:
    known = Suppressions(tmp_path / "table")
    known.found_clear(7)
    assert not known.still_clear(8)
    assert known.still_clear(7)
    assert not known.still_clear(7)  # a later attempt looks again
    known.found_clear(7)
    known.note(5, "manual", 1)
    assert not known.still_clear(7)
    known.found_clear(7)
    write_table(tmp_path / "table", [], 5)
    known.reload()
    assert not known.still_clear(7)


def test_every_process_follows_every_file(tmp_path: Path) -> None:
    one, two = NoticeBoard(tmp_path, "worker-0"), NoticeBoard(tmp_path, "worker-1")
    first = Notice(5, "unsubscribe", 100 * DAY)
    one.tell([first])
    assert list(two.follow()) == [first]
    assert list(two.follow()) == []
    more = [Notice(6, "", 100 * DAY + 1), Notice(7, "complaint", 100 * DAY + 2)]
    one.tell(more)
    two.tell([Notice(8, "manual", 100 * DAY)])
    assert sorted(two.follow()) == sorted([*more, Notice(8, "manual", 100 * DAY)])
    assert len(list(NoticeBoard(tmp_path, "worker-2").follow())) == 4
    one.close()
    two.close()


def test_a_torn_notice_is_waited_for_and_a_damaged_one_passed_over(tmp_path: Path) -> None:
    board = NoticeBoard(tmp_path, "worker-0")
    board.tell([Notice(5, "manual", 0)])
    board.close()
    (file,) = tmp_path.glob("*.notices")
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:10])
    reader = NoticeBoard(tmp_path, "reader")
    assert list(reader.follow()) == [Notice(5, "manual", 0)]
    file.write_bytes(whole + whole)
    assert list(reader.follow()) == [Notice(5, "manual", 0)]
    file.write_bytes(whole + whole + b"\xff" * len(whole))
    assert list(reader.follow()) == []


def test_days_that_the_table_has_caught_up_with_are_dropped(tmp_path: Path) -> None:
    board = NoticeBoard(tmp_path, "worker-0")
    board.tell([Notice(5, "manual", 10 * DAY)])
    board.tell([Notice(6, "manual", 12 * DAY)])
    board.drop_before(12 * DAY)
    assert list(NoticeBoard(tmp_path, "reader").follow()) == [Notice(6, "manual", 12 * DAY)]
    board.close()


def test_who_withdrew_from_tracking_gets_mail(tmp_path: Path) -> None:
    """An entry of the scope "tracking" suppresses no mail; without one nobody is looked up."""
    path = tmp_path / "table"
    write_table(path, [(entry_in_account(1, 5), "manual")], 7)
    assert not Suppressions(path).any_untracked
    write_table(path, [(entry_untracked(1, 5), "no-tracking")], 8)
    known = Suppressions(path)
    assert known.any_untracked
    assert [known.untracked(account, 5) for account in (1, 2)] == [True, False]
    assert known.reason(1, "shop.test", 9, 5) == ""
    known.note(entry_untracked(1, 5), "", 9)
    known.note(entry_untracked(1, 6), "no-tracking", 9)
    assert [known.untracked(1, recipient) for recipient in (5, 6)] == [False, True]
