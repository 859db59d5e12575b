"""Per-message options read from control headers, and which fields have to be taken out again.

Guarantees: header names are compared without case; a field that stands twice or cannot be read
takes the most restrictive value (any `off` is off); every recognised control field is listed for
removal, whether applied or not; unknown `X-Waypost-*` fields are reported, not guessed. A field
whose meaning is not built and whose loss would send the mail differently raises RefusedError (550
5.6.0).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from relay.errors import RefusedError
from relay.mail.header import Field, Header

_MAX_TAGS = 10
_MAX_METADATA_OCTETS = 4096
_OURS = b"x-waypost-"
_TEXT = re.compile(r"^[^\x00-\x1f\x7f]{1,128}$")


@dataclass(slots=True)
class Options:
    """What a message asks for. None means that it says nothing."""

    campaign: str = ""
    template: str = ""
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    opens: bool | None = None
    clicks: bool | None = None
    unsubscribe: bool | None = None
    priority: int = 0
    ignored: list[str] = field(default_factory=list)
    strip: list[Field] = field(default_factory=list)


def read_options(header: Header) -> Options:
    """Read the `X-Waypost-*` fields of a message (docs/headers.md); raises RefusedError."""
    options = Options()
    for part in header.fields:
        name = part.name.lower()
        if name == b"bcc":
            options.strip.append(part)
        elif name.startswith(_OURS):
            options.strip.append(part)
            key = name[len(_OURS) :].decode("ascii", "replace")
            _apply(options, key, part.text.decode("utf-8", "replace"))
    return options


def _apply(options: Options, key: str, value: str) -> None:
    if key.startswith("metadata-"):
        _put(options, key.removeprefix("metadata-"), value)
    elif key in _READERS:
        _READERS[key](options, value)
    else:
        options.ignored.append(f"X-Waypost-{key}: there is no such header")


def _campaign(options: Options, value: str) -> None:
    options.campaign = _text(options, "Campaign", value) or options.campaign


def _template(options: Options, value: str) -> None:
    options.template = _text(options, "Template", value) or options.template


def _tag(options: Options, value: str) -> None:
    text = _text(options, "Tag", value)
    if text and text not in options.tags and len(options.tags) < _MAX_TAGS:
        options.tags.append(text)


def _opens(options: Options, value: str) -> None:
    options.opens = _restrict(options.opens, value)


def _clicks(options: Options, value: str) -> None:
    options.clicks = _restrict(options.clicks, value)


def _track(options: Options, value: str) -> None:
    _opens(options, value)
    _clicks(options, value)


def _unsubscribe(options: Options, value: str) -> None:
    options.unsubscribe = _restrict(options.unsubscribe, value)


def _not_built(options: Options, value: str) -> None:
    raise RefusedError(
        550, "5.6.0", f"a control header asks for {value[:40]!a}, which is not available here"
    )


def _text(options: Options, key: str, value: str) -> str:
    if _TEXT.match(value):
        return value
    options.ignored.append(f"X-Waypost-{key}: 1 to 128 printable characters are expected")
    return ""


def _restrict(before: bool | None, value: str) -> bool:
    """Read an on/off value; whatever is not clearly on is off, and off wins over on."""
    on = value.lower() in {"on", "yes", "true", "1", "html", "all"}
    return on and before is not False


def _priority(options: Options, value: str) -> None:
    if re.fullmatch(r"-?[0-9]", value):
        options.priority = int(value)
    else:
        options.ignored.append("X-Waypost-Priority: a number between -9 and 9 is expected")


def _metadata(options: Options, value: str) -> None:
    try:
        given = msgspec.json.decode(value, type=dict[str, str])
    except msgspec.DecodeError:
        options.ignored.append("X-Waypost-Metadata: a JSON object of strings is expected")
        return
    for key, text in given.items():
        _put(options, key, text)


def _put(options: Options, key: str, text: str) -> None:
    used = sum(len(k) + len(v) for k, v in options.metadata.items())
    if not key or used + len(key) + len(text) > _MAX_METADATA_OCTETS or "\0" in key + text:
        options.ignored.append(f"X-Waypost-Metadata-{key[:40]}: too long or not text")
        return
    options.metadata[key] = text


_READERS: dict[str, Callable[[Options, str], None]] = {
    "campaign": _campaign,
    "template": _template,
    "tag": _tag,
    "track": _track,
    "track-opens": _opens,
    "track-clicks": _clicks,
    "unsubscribe": _unsubscribe,
    "priority": _priority,
    "metadata": _metadata,
    "schedule": _not_built,
    "not-before": _not_built,
    "mode": _not_built,
}

CONTROL_HEADERS = tuple(
    f"X-Waypost-{key.title()}" for key in _READERS if _READERS[key] is not _not_built
)
"""Every control header that means something here, as documentation writes it."""
