"""A typed method becomes a route: `@route("GET", "/accounts/{account}", scope=Scope.READ)`.

Guarantees: what a route takes and gives is read from the method's own annotations, so that the
HTTP door, the commands and the OpenAPI document cannot differ. A method takes `caller`, its path
parameters by name (int or str), at most one `query` and one `body` (msgspec Structs, or bytes for
other media types), and returns a Struct, None (204) or an asynchronous iterator of bytes. It may
take `fields`, the request's header fields named by the route, and `raw`: the body as it came where
its media type is `takes_raw`, and then `body` is None. Nothing here knows aiohttp: the commands use
the same registry without a server.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import unquote

from relay.control.caller import Scope
from relay.errors import NotFoundError, OperationError

PREFIX = "/api/v1"
MAX_BODY = 1024 * 1024
_MARK = "__waypost_route__"

Method = TypeVar("Method", bound=Callable[..., Any])


class MethodError(OperationError):
    """The address exists, but not with this method; `allow` lists those it has."""

    status = 405
    slug = "method-not-allowed"

    def __init__(self, allow: Iterable[str]) -> None:
        """Keep the methods that the address has."""
        self.allow = ", ".join(sorted(allow))
        super().__init__(f"this address takes {self.allow}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What the decorator says of a method."""

    method: str
    path: str
    scope: Scope
    status: int
    produces: str
    consumes: str
    max_body: int
    takes_raw: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One bound operation with its address and its types."""

    method: str
    path: str
    scope: Scope
    status: int
    produces: str
    consumes: str
    max_body: int
    takes_raw: str  # another media type that it takes, "" for none
    fields: tuple[str, ...]  # header fields that it reads
    name: str  # "accounts.create", the operationId
    summary: str
    description: str
    parameters: dict[str, type]  # in the path: int or str
    query: type | None
    body: type | None
    result: Any  # the Struct type, None, or bytes for a stream
    run: Callable[..., Any]
    pattern: re.Pattern[str] = field(repr=False)


def route(
    method: str,
    path: str,
    *,
    scope: Scope,
    status: int = 200,
    produces: str = "application/json",
    consumes: str = "application/json",
    max_body: int = MAX_BODY,
    takes_raw: str = "",
    fields: tuple[str, ...] = (),
) -> Callable[[Method], Method]:
    """Give a method an address below `/api/v1`."""
    marked = Marked(
        method=method,
        path=PREFIX + path,
        scope=scope,
        status=status,
        produces=produces,
        consumes=consumes,
        max_body=max_body,
        takes_raw=takes_raw,
        fields=fields,
    )

    def mark(function: Method) -> Method:
        setattr(function, _MARK, marked)
        return function

    return mark


class Registry:
    """All routes of the objects given, found by method and path."""

    def __init__(self, nouns: Iterable[object]) -> None:
        """Collect the marked methods of each object; raises ValueError for an address twice."""
        found = [one for noun in nouns for one in _routes_of(noun)]
        # What is written out wins over a parameter: /suppressions/export is no id.
        self.routes = tuple(sorted(found, key=lambda one: len(one.parameters)))
        addresses = [(one.method, one.pattern.pattern) for one in self.routes]
        if len(set(addresses)) < len(addresses):
            twice = {address for address in addresses if addresses.count(address) > 1}
            raise ValueError(f"routes declared twice: {sorted(twice)}")

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, int | str]]:
        """Give the route and its path parameters; NotFoundError or MethodError if there is none."""
        allowed = []
        for candidate in self.routes:
            found = candidate.pattern.fullmatch(raw_path)
            if found is None:
                continue
            if candidate.method != method:
                allowed.append(candidate.method)
                continue
            return candidate, _parameters(candidate, found.groupdict())
        if allowed:
            raise MethodError(allowed)
        raise NotFoundError("there is nothing at this address; /openapi.json lists what there is")


def _parameters(found: Route, raw: dict[str, str]) -> dict[str, int | str]:
    values: dict[str, int | str] = {}
    for name, text in raw.items():
        decoded = unquote(text, errors="replace")
        if found.parameters[name] is not int:
            values[name] = decoded
        elif re.fullmatch(r"[0-9]{1,18}", decoded):
            values[name] = int(decoded)
        else:  # an id that cannot exist is an id that does not exist
            raise NotFoundError(f"there is no such {name}")
    return values


def _routes_of(noun: object) -> Iterator[Route]:
    for name, function in inspect.getmembers(type(noun), inspect.isfunction):
        marked = getattr(function, _MARK, None)
        if isinstance(marked, Marked):
            yield _bind(noun, name, function, marked)


def _bind(noun: object, name: str, function: Callable[..., Any], marked: Marked) -> Route:
    hints = get_type_hints(function, include_extras=True)
    result = hints.pop("return")
    if get_origin(result) is AsyncIterator:
        result = bytes
    in_path = re.findall(r"\{(\w+)\}", marked.path)
    first, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(marked.path))
    unknown = set(hints) - {"caller", "query", "body", "raw", "fields", *in_path}
    if unknown or not set(in_path) <= set(hints):
        raise ValueError(f"{name}: {sorted(unknown) or in_path} do not fit {marked.path}")
    return Route(
        method=marked.method,
        path=marked.path,
        scope=marked.scope,
        status=marked.status if result is not type(None) else 204,
        produces=marked.produces,
        consumes=marked.consumes,
        max_body=marked.max_body,
        takes_raw=marked.takes_raw,
        fields=marked.fields,
        name=f"{type(noun).__name__.lower()}.{name}",
        summary=" ".join(first.split()),
        description=" ".join(rest.split()),
        parameters={parameter: hints[parameter] for parameter in in_path},
        query=hints.get("query"),
        body=_whole(hints.get("body")),
        result=None if result is type(None) else result,
        run=getattr(noun, name),
        pattern=re.compile(pattern),
    )


def _whole(kind: Any) -> Any:
    """Give the type of a body that may be None because `raw` is given instead."""
    parts = [part for part in get_args(kind) if part is not type(None)]
    return parts[0] if isinstance(kind, UnionType) and len(parts) == 1 else kind
