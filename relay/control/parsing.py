"""From bytes to typed values at the door: JSON bodies and query strings, strictly.

Guarantees: malformed input raises an OperationError (400 for what is no JSON, 422 for a wrong
value) and never anything else, whatever the depth; a key given twice, NaN, a lone surrogate and an
unknown field are refused rather than guessed about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import msgspec

from relay.errors import InvalidError, OperationError

_T = TypeVar("_T")


class MalformedError(OperationError):
    """The body or the query is not what its media type says."""

    status = 400
    slug = "malformed"


def read_json(raw: bytes, kind: type[_T]) -> _T:
    """Read a JSON body as `kind`; MalformedError if it is no JSON, InvalidError if it misfits."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("the body is not UTF-8") from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedError("the body has half a surrogate pair") from None
    except RecursionError:
        raise MalformedError("the body nests too deep") from None
    except ValueError as problem:
        raise MalformedError(f"the body is not JSON: {problem}") from None
    return convert(value, kind, strict=True)


def read_query(pairs: Iterable[tuple[str, str]], kind: type[_T]) -> _T:
    """Read query parameters as `kind`; only fields that are lists may be given more than once."""
    lists = _lists(kind)  # type: ignore[arg-type] # types are hashable
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name in lists:
            values.setdefault(name, []).append(text)
        elif name in values:
            raise InvalidError(f"{name} is given twice", field=name)
        else:
            values[name] = text
    return convert(values, kind, strict=False)


@cache
def _lists(kind: Any) -> frozenset[str]:
    """Give the names of the fields that are lists."""
    return frozenset(
        field.name
        for field in msgspec.structs.fields(kind)
        if get_origin(_bare(field.type)) in (tuple, list)
    )


def convert(value: object, kind: type[_T], *, strict: bool) -> _T:
    """Fit plain values to `kind`; raises InvalidError that names the field."""
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as problem:
        what, _, where = str(problem).partition(" - at `$")
        raise InvalidError(what, field=where.strip("`.").replace("[...]", "")) from None


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key is given twice in one object")
    return result


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")
