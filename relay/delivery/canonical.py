"""Relaxed canonicalisation of RFC 6376 sections 3.4.2 and 3.4.4, on whole buffers.

Works by replacing and searching in C; no loop over lines, linear also for long runs of spaces.
Input has CRLF line ends only (the route refuses anything else at the door).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)(?:\r\n|\Z)")

_EIGHT = b" " * 8


def split_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Give the fields of a header block as (lower-case name, raw value), in order; stops at the
    empty line.
    """
    found = []
    at = 0
    match = _FIELD.match
    while field := match(head, at):
        found.append((field[1].lower(), field[2]))
        at = field.end()
    return found


def _one_space(raw: bytes) -> bytes:
    """Reduce every run of spaces and tabs to one space, in time linear in the length."""
    if b"\t" in raw:
        raw = raw.replace(b"\t", b" ")
    if b"  " not in raw:
        return raw
    while _EIGHT in raw:  # long runs shrink by eight at a time, whatever the input
        raw = raw.replace(_EIGHT, b" ")
    first, *rest = raw.split(b"  ")
    if not rest:  # the runs are gone
        return raw
    last = rest.pop().lstrip(b" ")
    kept = [piece for piece in [piece.lstrip(b" ") for piece in rest] if piece]
    return b" ".join((first, *kept, last))


def relaxed_value(value: bytes) -> bytes:
    """Give a field value unfolded, white space reduced and stripped (section 3.4.2)."""
    if b"\r" in value or b"\t" in value or b"  " in value:
        value = _one_space(value.replace(b"\r\n", b""))
    return value.strip(b" ")


def relaxed_body(body: bytes) -> bytes:
    """Give a body in relaxed form: runs of white space reduced, line ends bare, no empty lines at
    the end.
    """
    body = relaxed_runs(body)
    if body.endswith(b" "):
        body = body[:-1]
    body = body.rstrip(b"\r\n")
    return body + b"\r\n" if body else b""


def relaxed_runs(lines: bytes) -> bytes:
    """Give whole lines of a body in relaxed form, empty ones at the end and all.

    Their forms joined are the form of the lines joined, unless one ends with a space.
    """
    lines = _one_space(lines)
    return lines.replace(b" \r\n", b"\r\n") if b" \r\n" in lines else lines


def chosen_fields(
    fields: Sequence[tuple[bytes, bytes]], sign: Sequence[bytes], oversign: frozenset[bytes]
) -> tuple[list[bytes], bytes]:
    """Give the names for h= and the canonical fields that they choose, in that order (section
    5.4.2).

    A name occurs as often as the message has the field, counted from the bottom, and once more if
    it is in `oversign`, so that nobody can add one unseen.
    """
    by_name: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        by_name.setdefault(name, []).append(value)
    names: list[bytes] = []
    lines: list[bytes] = []
    for name in sign:
        for value in reversed(by_name.get(name, ())):
            names.append(name)
            lines.append(name + b":" + relaxed_value(value) + b"\r\n")
        if name in oversign:
            names.append(name)
    return names, b"".join(lines)
