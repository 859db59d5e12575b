"""What stands behind `waypost bounce read` and `waypost reply classify`: JSON lines out of streams.

Guarantees: one line out per mail or reply, in the order they came, each written before the next is
read, UTF-8, with exactly the documented keys. Pure functions over streams; the command line only
wires them. A file that cannot be read is a line with `"kind":"other"` and an `"error"`, and makes
the exit status 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from bounces.classify import classify_line
from bounces.mbox import mails_in, named
from bounces.read import read
from bounces.report import Record, Report


def _record(record: Record) -> Mapping[str, object]:
    return {
        "recipient": record.recipient or None,
        "original_recipient": record.original_recipient or None,
        "category": record.category,
        "reason": record.reason,
        "status": record.status,
        "code": str(record.code) if record.code else "",
        "action": record.action,
        "feedback_type": record.feedback_type,
        "original_message_id": record.original_message_id,
        "diagnostic": record.diagnostic,
        "rule": record.rule,
    }


def report_line(file: str, report: Report) -> bytes:
    """Write a report as one JSON line, without its line end."""
    return msgspec.json.encode(
        {
            "file": file,
            "kind": report.kind,
            "records": [_record(r) for r in report.records],
            "why": report.why,
        }
    )


def read_files(paths: Iterable[str], out: IO[bytes], *, stdin: BinaryIO | None = None) -> int:
    """Read mails from files (`-` is standard input) and write a JSON line for each.

    An mbox file gives a line for each of its mails, the second under the name `FILE#2`. Gives the
    exit status: 0, or 1 if a file could not be opened.
    """
    status = 0
    for path in paths:
        try:
            message = (stdin or sys.stdin.buffer).read() if path == "-" else Path(path).read_bytes()
        except OSError as error:
            status = 1
            said = {
                "file": path,
                "kind": "other",
                "records": [],
                "error": error.strerror or str(error),
            }
            out.write(msgspec.json.encode(said) + b"\n")
            continue
        for number, mail in enumerate(mails_in(message), 1):
            out.write(report_line(named(path, number), read(mail)) + b"\n")
    return status


def classify_lines(lines: Iterable[str], out: IO[bytes]) -> int:
    """Judge SMTP replies, one per line, and write a JSON line for each; blank lines too."""
    for line in lines:
        reply = line.rstrip("\r\n")
        judged = classify_line(reply)
        out.write(
            msgspec.json.encode(
                {
                    "reply": reply,
                    "class": judged.klass,
                    "coarse": judged.coarse,
                    "category": judged.category,
                    "reason": judged.reason,
                    "rule": judged.rule,
                    "delivery": judged.delivery,
                    "recipient": judged.recipient,
                    "destination": judged.destination,
                }
            )
            + b"\n"
        )
    return 0
