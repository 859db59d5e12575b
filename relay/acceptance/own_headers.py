"""The `X-Waypost-*` fields (docs/headers.md)."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from relay.acceptance.options import Options

Furthest = int
Reader = Callable[[Options, str, str, int, Furthest], None]
PREFIX = b"x-waypost-"


def read_own(options: Options, key: str, value: str, now: int, furthest: Furthest) -> None:
    """Apply one field, `key` being the lower-case name behind the prefix. Raises RefusedError."""
    name = f"X-Waypost-{key.title()}"
    if key.startswith("metadata-"):
        options.put(name, key.removeprefix("metadata-"), value)
    elif key in _READERS:
        _READERS[key](options, name, value, now, furthest)
    else:
        options.ignore(name, "there is no such header")


def _campaign(options: Options, name: str, value: str, _now: int, _furthest: Furthest) -> None:
    options.set_campaign(name, value)


def _template(options: Options, name: str, value: str, _now: int, _furthest: Furthest) -> None:
    options.set_template(name, value)


def _tag(options: Options, name: str, value: str, _now: int, _furthest: Furthest) -> None:
    options.add_tag(name, value)


def _opens(options: Options, _name: str, value: str, _now: int, _furthest: Furthest) -> None:
    options.track_opens(value)


def _clicks(options: Options, _name: str, value: str, _now: int, _furthest: Furthest) -> None:
    options.track_clicks(value)


def _track(options: Options, _name: str, value: str, _now: int, _furthest: Furthest) -> None:
    options.track_opens(value)
    options.track_clicks(value)


def _unsubscribe(options: Options, _name: str, value: str, _now: int, _furthest: Furthest) -> None:
    wished = value.lower() in ("on", "yes", "true", "1")
    options.unsubscribe = wished and options.unsubscribe is not False


def _priority(options: Options, name: str, value: str, _now: int, _furthest: Furthest) -> None:
    if re.fullmatch(r"-?[0-9]", value):
        options.priority = int(value)
    else:
        options.ignore(name, "a number between -9 and 9 is expected")


def _metadata(options: Options, name: str, value: str, _now: int, _furthest: Furthest) -> None:
    try:
        given = msgspec.json.decode(value, type=dict[str, str])
    except msgspec.DecodeError:
        options.ignore(name, "a JSON object of strings is expected")
        return
    for key, text in given.items():
        options.put(name, key, text)


def _schedule(options: Options, name: str, value: str, now: int, furthest: Furthest) -> None:
    options.schedule(name, value, now, furthest)


def _pool(options: Options, name: str, value: str, _now: int, _furthest: Furthest) -> None:
    options.set_pool(name, value)


def _mode(options: Options, name: str, value: str, _now: int, _furthest: Furthest) -> None:
    # Whatever is not "live" is a test: sending it for real would be the worse mistake.
    options.sandbox = options.sandbox or value.lower() != "live"
    if value.lower() not in ("live", "test"):
        options.ignore(name, "live or test is expected; taken as test")


_READERS: dict[str, Reader] = {
    "campaign": _campaign,
    "template": _template,
    "tag": _tag,
    "track": _track,
    "track-opens": _opens,
    "track-clicks": _clicks,
    "unsubscribe": _unsubscribe,
    "priority": _priority,
    "metadata": _metadata,
    "schedule": _schedule,
    "not-before": _schedule,
    "mode": _mode,
    "pool": _pool,
}

CONTROL_HEADERS = tuple(f"X-Waypost-{key.title()}" for key in _READERS)
"""Every control header of ours, as documentation writes it."""
