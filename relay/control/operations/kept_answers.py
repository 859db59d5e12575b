"""Answers kept for 24 hours, so that a request made twice with one Idempotency-Key acts once.

Guarantees: the same key with the same body gets the same answer; with another body ConflictError;
while the first is still under way, ConflictError as well. Only answers that settle the matter are
kept. What remains: an answer lost with the whole process between the worker's commit and the
ledger's is not known, and the request then acts again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, insert, select

from relay.acceptance.handed_in import Taken
from relay.control.changes import Changes
from relay.errors import ConflictError, InvalidError
from relay.ledger.answer_tables import kept_answers

_KEPT_MICROSECONDS = 24 * 3600 * 1_000_000
_LONGEST_KEY = 255


class _Kept(NamedTuple):
    body_sha256: bytes
    answer: str


class _Asked(NamedTuple):
    account: int
    key: bytes
    body: bytes


class KeptAnswers:
    """Remembers answers by account and key."""

    def __init__(self, changes: Changes) -> None:
        """Take the door to the ledger."""
        self._changes = changes
        self._under_way: set[tuple[int, bytes]] = set()

    async def once(
        self,
        account: int,
        key: str,
        body: bytes,
        work: Callable[[], Awaitable[Taken]],
        settled: Callable[[Taken], bool],
    ) -> Taken:
        """Give the kept answer, or run `work` and keep its answer if it is `settled`.

        Without a key (empty) it just runs.
        """
        if not key:
            return await work()
        if len(key) > _LONGEST_KEY or not key.isascii() or not key.isprintable():
            raise InvalidError(
                f"expected 1 to {_LONGEST_KEY} printable ASCII characters", field="Idempotency-Key"
            )
        asked = _Asked(
            account, hashlib.sha256(key.encode()).digest(), hashlib.sha256(body).digest()
        )
        with self._alone(asked):
            row = await self._changes.read(lambda connection: self._find(connection, asked))
            if row is not None:
                return _answer(row, asked)
            taken = await work()
            if settled(taken):
                await self._changes.note(lambda connection: self._keep(connection, asked, taken))
            return taken

    @contextmanager
    def _alone(self, asked: _Asked) -> Iterator[None]:
        name = (asked.account, asked.key)
        if name in self._under_way:
            raise ConflictError(
                "a request with this key is under way; ask again later", field="Idempotency-Key"
            )
        self._under_way.add(name)
        try:
            yield
        finally:
            self._under_way.discard(name)

    def _find(self, connection: Connection, asked: _Asked) -> _Kept | None:
        columns = kept_answers.c
        wanted = select(columns.body_sha256, columns.answer).where(
            columns.account == asked.account,
            columns.key_sha256 == asked.key,
            columns.at > self._changes.now() - _KEPT_MICROSECONDS,
        )
        row = connection.execute(wanted).one_or_none()
        return _Kept(row.body_sha256, row.answer) if row is not None else None

    def _keep(self, connection: Connection, asked: _Asked, taken: Taken) -> None:
        now = self._changes.now()
        old = delete(kept_answers).where(kept_answers.c.at <= now - _KEPT_MICROSECONDS)
        connection.execute(old)
        row = {
            "account": asked.account,
            "key_sha256": asked.key,
            "body_sha256": asked.body,
            "at": now,
            "code": taken.code,
            "answer": msgspec.json.encode(taken).decode(),
        }
        connection.execute(insert(kept_answers).values(row))


def _answer(row: _Kept, asked: _Asked) -> Taken:
    if row.body_sha256 != asked.body:
        raise ConflictError(
            "this key was used for another message within the last 24 hours",
            field="Idempotency-Key",
        )
    return msgspec.json.decode(row.answer, type=Taken)
