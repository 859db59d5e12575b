"""From an address and bytes to an operation and back to bytes, without a server.

Guarantees: the HTTP door and the commands come through here alike, so the scope is demanded, the
media type checked, and query and body read by the same rules, before an operation runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from relay.control.caller import Caller
from relay.control.parsing import MalformedError, read_json, read_query
from relay.control.route import Registry, Route
from relay.errors import InvalidError, OperationError

_ENCODER = msgspec.json.Encoder()


class MediaTypeError(OperationError):
    """The body is not of the media type that the route takes."""

    status = 415
    slug = "media-type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, as far as operations are concerned."""

    method: str
    path: str  # still percent-encoded
    query: Sequence[tuple[str, str]] = ()
    media_type: str = ""  # of the body, with its parameters
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict)  # header fields, names in lower case


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer: whole, or as a stream."""

    status: int
    media_type: str
    content: bytes | AsyncIterator[bytes]


async def call(registry: Registry, caller: Caller, asked: Asked) -> Answered:
    """Carry out what was asked; raises OperationError."""
    found, parameters = registry.find(asked.method, asked.path)
    return await run(found, parameters, caller, asked)


async def run(
    found: Route, parameters: dict[str, int | str], caller: Caller, asked: Asked
) -> Answered:
    """Carry out an operation that was found already; raises OperationError."""
    caller.demand(found.scope)
    arguments: dict[str, object] = dict(parameters)
    if found.query is not None:
        arguments["query"] = read_query(asked.query, found.query)
    elif asked.query:
        name = asked.query[0][0]
        raise InvalidError(f"this address takes no parameters, not {name!r}", field=name[:100])
    if found.fields:
        wanted = {name.lower() for name in found.fields}
        arguments["fields"] = {name: asked.fields[name] for name in wanted & asked.fields.keys()}
    if found.takes_raw:
        is_raw = _kind(asked) == found.takes_raw
        arguments["raw"] = asked.body if is_raw else None
        arguments["body"] = None if is_raw else _body(found, asked)
    elif found.body is not None:
        arguments["body"] = _body(found, asked)
    elif asked.body:
        raise MalformedError("this address takes no body")
    result = await found.run(caller=caller, **arguments)
    if found.result is None:
        return Answered(status=204, media_type="", content=b"")
    content = result if found.result is bytes else _ENCODER.encode(result)
    return Answered(status=found.status, media_type=found.produces, content=content)


def _body(found: Route, asked: Asked) -> object:
    _, _, rest = asked.media_type.partition(";")
    charset = rest.replace(" ", "").replace('"', "").lower()
    if _kind(asked) != found.consumes or charset not in ("", "charset=utf-8"):
        other = f" or {found.takes_raw}" if found.takes_raw else ""
        raise MediaTypeError(f"expected Content-Type: {found.consumes}, in UTF-8{other}")
    if found.body is bytes or found.body is None:
        return asked.body
    return read_json(asked.body, found.body)


def _kind(asked: Asked) -> str:
    return asked.media_type.partition(";")[0].strip().lower()
