"""Errors as RFC 9457 says: `application/problem+json` with type, title, status and detail.

Guarantees: nothing of an unexpected error's text leaves the process; it goes to the log under a
number that the answer names.
"""

from __future__ import annotations

import http
import logging
import secrets

import msgspec
from aiohttp import web

from relay.control.route import MethodError
from relay.errors import OperationError, WaypostError

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong."""

    type: str  # "urn:waypost:problem:" and a word for programs
    title: str
    status: int
    detail: str = ""
    field: str = ""  # the input at fault
    incident: str = ""  # of an unexpected error: its number in the log
    reply: str = ""  # of mail that is not taken: what SMTP would have said


def problem_response(
    status: int, slug: str, detail: str, *, field: str = "", incident: str = "", reply: str = ""
) -> web.Response:
    """Give the answer for an error."""
    problem = Problem(
        type=f"urn:waypost:problem:{slug}",
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=field,
        incident=incident,
        reply=reply,
    )
    return web.Response(status=status, body=msgspec.json.encode(problem), content_type=MEDIA_TYPE)


def response_to(error: Exception) -> web.Response:
    """Give the answer for what an operation raised, expected or not."""
    if isinstance(error, OperationError):
        response = problem_response(
            error.status, error.slug, error.detail, field=error.field, reply=error.reply
        )
        if error.retry_after:
            response.headers["Retry-After"] = str(error.retry_after)
        if isinstance(error, MethodError):
            response.headers["Allow"] = error.allow
        return response
    if isinstance(error, web.HTTPException):
        return problem_response(error.status, "http", error.reason)
    incident = secrets.token_hex(6)
    _log.error("incident %s in the admin API", incident, exc_info=error)
    if isinstance(error, WaypostError):
        return problem_response(
            503, "unavailable", "the ledger cannot be used at the moment", incident=incident
        )
    return problem_response(500, "internal", "this is a bug; please report it", incident=incident)
