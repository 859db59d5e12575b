"""Relaxed canonicalisation of RFC 6376 sections 3.4.2 and 3.4.4, on whole buffers.

Works by replacing and searching in C; no loop over lines, linear also for long runs of spaces.
Input has CRLF line ends only (the route refuses anything else at the door).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)(?:\r\n|\Z)")

_LINE = re.compile(rb"(?m)^([!-9;-~]+) ?: ?([^\r\n]*)\r\n")

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


def relaxed_fields(head: bytes) -> tuple[tuple[bytes, ...], list[bytes]]:
    """Give the lower-case names of a header block's fields, in order, and the fields in relaxed
    form with their CRLF; stops at the empty line.
    """
    end = head.find(b"\r\n\r\n")
    lines = head if end < 0 else head[: end + 2]
    lines = _one_space(lines.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" "))
    found: list[tuple[bytes, bytes]] = _LINE.findall(lines.replace(b" \r\n", b"\r\n"))
    if len(found) != lines.count(b"\n") or not lines.endswith(b"\n"):  # a line that is no field
        found = [(name, relaxed_value(value)) for name, value in split_fields(head)]
    names = [name.lower() for name, _ in found]
    return tuple(names), [
        b"%s:%s\r\n" % (name, field[1]) for name, field in zip(names, found, strict=True)
    ]


def chosen(
    names: Sequence[bytes], sign: Sequence[bytes], oversign: frozenset[bytes]
) -> tuple[list[bytes], list[int]]:
    """Give the names for h=, and which of these fields they choose, in that order (RFC 6376 section
    5.4.2).

    A name occurs as often as the message has the field, counted from the bottom, and once more if
    it is in `oversign`, so that nobody can add one unseen.
    """
    places: dict[bytes, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    given: list[bytes] = []
    order: list[int] = []
    for name in sign:
        own = places.get(name, [])
        given += [name] * (len(own) + (name in oversign))
        order += reversed(own)
    return given, order
