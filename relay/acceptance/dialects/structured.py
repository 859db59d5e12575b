"""Values with a structure of their own: JSON, base64 of JSON, lists of pairs.

A value that cannot be read leaves the message untracked, with a note (headers reference, rule 6):
sending it tracked against a wish that we could not read would be the worse mistake.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from relay.acceptance.options import Options


def metadata(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    """Read a JSON object of plain values as metadata."""
    for key, entry in _object(options, name, value).items():
        options.put(name, key, entry if isinstance(entry, str) else _json(entry))


def metadata_or_text(options: Options, name: str, value: str, now: int, furthest: int) -> None:
    """Read a JSON object as metadata, anything else as one text."""
    if value.lstrip().startswith("{"):
        metadata(options, name, value, now, furthest)
    else:
        options.put(name, "custom", value)


def ses_tags(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    """Read Amazon's `key=value, key2=value2`."""
    for pair in value.split(","):
        key, equals, text = pair.strip().partition("=")
        if equals:
            options.put(name, key.strip(), text.strip())
        elif pair.strip():
            options.ignore(name, f"{pair.strip()[:40]!r} is not of the form key=value")


def alidm(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    """Read Alibaba DirectMail's base64 of {"OpenTrace", "LinkTrace", "TagName"}."""
    try:
        decoded = base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        _unreadable(options, name, "base64 of a JSON object is expected")
        return
    for key, entry in _object(options, name, decoded).items():
        if key == "OpenTrace":
            options.track_opens(entry)
        elif key == "LinkTrace":
            options.track_clicks(entry)
        elif key == "TagName":
            options.add_tag(name, str(entry))
        else:
            options.ignore(f"{name}: {key[:40]}")


def sparkpost(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    """Read SparkPost's X-MSYS-API."""
    for key, entry in _object(options, name, value).items():
        if key == "campaign_id":
            options.set_campaign(name, str(entry))
        elif key == "metadata" and isinstance(entry, dict):
            for inner, said in entry.items():
                options.put(name, inner, said if isinstance(said, str) else _json(said))
        elif key == "tags" and isinstance(entry, list):
            for tag in entry:
                options.add_tag(name, str(tag))
        elif key == "options" and isinstance(entry, dict):
            _sparkpost_options(options, name, entry)
        else:
            options.ignore(f"{name}: {key[:40]}")


def _sparkpost_options(options: Options, name: str, given: dict[str, Any]) -> None:
    for key, entry in given.items():
        if key == "open_tracking":
            options.track_opens(entry)
        elif key == "click_tracking":
            options.track_clicks(entry)
        elif key == "sandbox":
            options.sandbox = options.sandbox or entry is not False
        else:
            options.ignore(f"{name}: options.{key[:40]}")


def sendgrid(options: Options, name: str, value: str, now: int, furthest: int) -> None:
    """Read SendGrid's X-SMTPAPI."""
    for key, entry in _object(options, name, value).items():
        if key == "category":
            for tag in entry if isinstance(entry, list) else [entry]:
                options.add_tag(name, str(tag))
        elif key == "unique_args" and isinstance(entry, dict):
            for inner, said in entry.items():
                options.put(name, inner, said if isinstance(said, str) else _json(said))
        elif key == "send_at":
            options.schedule(f"{name}: send_at", str(entry), now, furthest)
        elif key == "filters" and isinstance(entry, dict):
            _sendgrid_filters(options, name, entry)
        else:
            options.ignore(f"{name}: {key[:40]}")


def _sendgrid_filters(options: Options, name: str, filters: dict[str, Any]) -> None:
    for key, entry in filters.items():
        given = entry.get("settings") if isinstance(entry, dict) else None
        settings: dict[str, Any] = given if isinstance(given, dict) else {}
        if key == "clicktrack" and "enable" in settings:
            options.track_clicks("on" if _is_one(settings["enable"]) else "off")
            if options.clicks and not _is_one(settings.get("enable_text", 1)):
                options.text_links = False
        elif key == "opentrack" and "enable" in settings:
            options.track_opens("on" if _is_one(settings["enable"]) else "off")
        else:
            options.ignore(f"{name}: filters.{key[:40]}")


def _is_one(value: object) -> bool:
    return str(value).lower() in ("1", "true")


def kumomta(options: Options, name: str, value: str, now: int, furthest: int) -> None:
    """Read KumoMTA's X-Schedule with `first_attempt`; windows are not available."""
    given = _object(options, name, value)
    if "first_attempt" in given:
        options.schedule(name, str(given["first_attempt"]), now, furthest)
    for key in given.keys() - {"first_attempt"}:
        options.ignore(f"{name}: {key[:40]}")


def _object(options: Options, name: str, value: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        _unreadable(options, name, "a JSON object is expected")
        return {}
    if not isinstance(found, dict):
        _unreadable(options, name, "a JSON object is expected")
        return {}
    return found


def _unreadable(options: Options, name: str, why: str) -> None:
    options.track_opens("off")
    options.track_clicks("off")
    options.ignore(name, f"{why}; the message is not tracked")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode("utf-8")
