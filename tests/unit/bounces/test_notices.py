"""Notices for people, of many mail systems and languages, and ordinary mails that sound alike."""

import tomllib
from pathlib import Path

import pytest

from bounces.read import read
from bounces.report import Kind

TABLE = tomllib.loads((Path(__file__).parent / "notices.toml").read_text(encoding="utf-8"))


def mail(row: dict[str, str], head: str = "") -> bytes:
    """Build the mail of a row."""
    return (
        f"{head}From: {row['from']}\nTo: sender@shop.test\nSubject: {row['subject']}\n"
        f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{row['text']}"
    ).encode()


@pytest.mark.parametrize("row", TABLE["notice"], ids=lambda r: r["name"])
def test_notice_is_read(row: dict[str, str]) -> None:
    """Who failed, and why."""
    report = read(mail(row, "Return-Path: <>\n"))
    got = [[r.recipient, r.category.value, r.reason] for r in report.records]
    assert report.kind is Kind.BOUNCE
    expected: object = row["expected"]
    assert got == expected


@pytest.mark.parametrize("row", TABLE["ordinary"], ids=lambda r: r["name"])
def test_ordinary_mail_is_nothing_of_ours(row: dict[str, str]) -> None:
    """People and shops may speak of deliveries, holidays and rejections."""
    report = read(mail(row))
    assert report.kind is Kind.OTHER
    assert report.records == ()
