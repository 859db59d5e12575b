"""The served OpenAPI document, operation by operation: requests made from its schemas are answered
as it says.

Beside `test_admin_fuzz.py`, which sends odd values to every part of every route, this reads nothing
but the document that users read: an answer with another status, another media type or another shape
than documented fails, and so does any answer of 500 or above.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.harness.admin import AdminUnderTest, admin_under_test
from tests.harness.standing_worker import standing_worker

_CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
_LONGEST_LINE = 8_000  # longer request lines are refused before they are read as requests
_SCOPES = ("read", "write", "admin", "send")


@schemathesis.serializer("message/rfc822")
def _mail(_context: object, value: object) -> bytes:
    """Send what was made up in place of a mail as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[AdminUnderTest]:
    """Give an admin listener with an account, its domain and a worker that takes mail."""
    async with admin_under_test(tmp_path) as made, standing_worker(tmp_path / "w", made.services):
        await made.domain("shop.test", await made.account("Shop"))
        yield made


class Tried:
    """Sends generated requests, with a key that is good; runs in a thread of its own."""

    def __init__(self, admin: AdminUnderTest, loop: asyncio.AbstractEventLoop) -> None:
        self._admin = admin
        self._loop = loop
        self._key = ""
        self.answered: dict[str, dict[int, int]] = {}

    def run(self, document: dict[str, Any], examples: int) -> None:
        """Try every operation of the document."""
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=self._admin.url)
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            self._try(found.ok(), examples)

    def _try(self, operation: Any, examples: int) -> None:
        seen = self.answered.setdefault(operation.label, {})

        @given(case=operation.as_strategy())
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        def one(case: Any) -> None:
            response = self._send(case)
            if response.status_code == 401:  # the case before has deleted the key
                self._key = ""
                response = self._send(case)
            seen[response.status_code] = seen.get(response.status_code, 0) + 1
            if len(response.request.url or "") > _LONGEST_LINE:
                return
            case.validate_response(response, checks=_CHECKS)

        one()

    def _send(self, case: Any) -> Any:
        if not self._key:
            making = self._admin.key(None, _SCOPES)
            self._key = asyncio.run_coroutine_threadsafe(making, self._loop).result(30)
        return case.call(headers={"Authorization": f"Bearer {self._key}"}, timeout=30)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("examples", [2, pytest.param(40, marks=pytest.mark.long)])
async def test_every_operation_answers_as_documented(admin: AdminUnderTest, examples: int) -> None:
    """No 500, every status and media type documented, every body of its schema."""
    document = (await admin.ask("GET", "/openapi.json")).json
    tried = Tried(admin, asyncio.get_running_loop())
    await asyncio.to_thread(tried.run, document, examples)
    operations = sum(len(methods) for methods in document["paths"].values())
    assert len(tried.answered) == operations
    assert all(tried.answered.values())
    carried_out = [label for label, seen in tried.answered.items() if min(seen) < 300]
    assert len(carried_out) > operations // 3, tried.answered
