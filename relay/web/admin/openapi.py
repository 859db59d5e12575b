"""The OpenAPI 3.1 document, made from the routes' own types.

Guarantees: a route, a field or a bound that exists is in the document, and none that does not,
because nothing is written by hand but the frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from relay.control.caller import Scope
from relay.control.route import Route
from relay.web.admin.problems import MEDIA_TYPE, Problem

_REFERENCE = "#/components/schemas/{name}"


def document(routes: Iterable[Route], version: str = "1") -> dict[str, Any]:
    """Give the whole document as plain values."""
    listed = sorted(routes, key=lambda one: (one.path, one.method))
    kinds = [
        kind
        for one in listed
        for kind in (one.body, one.query, one.result)
        if kind is not None and kind is not bytes
    ]
    schemas, components = msgspec.json.schema_components((*kinds, Problem), ref_template=_REFERENCE)
    by_kind = dict(zip((*kinds, Problem), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, by_kind, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Waypost admin API", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, wpk_..."}
            },
        },
    }


def _operation(
    one: Route, schemas: dict[Any, dict[str, Any]], components: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.name.partition(".")[0]],
        "summary": one.summary,
        "responses": _responses(one, schemas),
    }
    if one.description:
        operation["description"] = one.description
    if one.scope is not Scope.NONE:
        operation["security"] = [{"key": [one.scope.value]}]
    parameters = [_path_parameter(name, kind) for name, kind in one.parameters.items()]
    if one.query is not None:
        parameters += _query_parameters(schemas[one.query], components)
    parameters += [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
        for name in one.fields
    ]
    if parameters:
        operation["parameters"] = parameters
    if one.body is not None:
        schema = {"type": "string"} if one.body is bytes else schemas[one.body]
        operation["requestBody"] = {
            "required": True,
            "content": {one.consumes: {"schema": schema}},
        }
        if one.takes_raw:
            operation["requestBody"]["content"][one.takes_raw] = {"schema": {"type": "string"}}
    return operation


def _responses(one: Route, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": one.summary}
    if one.result is bytes:
        answer["content"] = {one.produces: {"schema": {"type": "string"}}}
    elif one.result is not None:
        answer["content"] = {one.produces: {"schema": schemas[one.result]}}
    problem = {
        "description": "It was not carried out; the detail says why.",
        "content": {MEDIA_TYPE: {"schema": schemas[Problem]}},
    }
    return {str(one.status): answer, "default": problem}


def _path_parameter(name: str, kind: type) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 0} if kind is int else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(schema: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    resolved = components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    required = resolved.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in resolved["properties"].items()
    ]
