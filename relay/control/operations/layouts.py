"""How an operator has laid out the reports of the page: which widgets, in which order, how wide.

Guarantees: a layout belongs to an operator and is the same in every browser; it goes with its
operator. What cannot be read is as if nothing had been laid out.
Leaves to others: which widgets there are (`relay.web.page.widgets`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from sqlalchemy import Connection, delete, insert, select

from relay.control.changes import Changes
from relay.errors import InvalidError
from relay.ledger.operator_tables import page_layouts


class Placed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A widget that is shown; `width` in columns."""

    id: Annotated[str, msgspec.Meta(max_length=40)]
    width: Annotated[int, msgspec.Meta(ge=1, le=4)]


Layout = Annotated[tuple[Placed, ...], msgspec.Meta(max_length=50)]
_decode = msgspec.json.Decoder(Layout).decode


class Layouts:
    """Reads and keeps layouts."""

    def __init__(self, changes: Changes) -> None:
        """Take the door to the ledger."""
        self._changes = changes

    async def of(self, operator: int, report: str) -> tuple[Placed, ...] | None:
        """Give an operator's layout of a kind of report; None where it is as it came."""
        c = page_layouts.c
        wanted = select(c.layout).where(c.operator == operator, c.report == report)
        text = await self._changes.read(lambda connection: connection.scalar(wanted))
        try:
            return _decode(text) if text else None
        except msgspec.MsgspecError:
            return None

    async def keep(self, operator: int, report: str, text: str) -> None:
        """Keep a layout given as JSON, "" for the one it came with. Raises InvalidError."""
        try:
            layout = msgspec.json.encode(_decode(text)).decode() if text else ""
        except msgspec.MsgspecError as problem:
            raise InvalidError(f"not a layout: {problem}", field="layout") from None
        c = page_layouts.c

        def work(connection: Connection) -> None:
            connection.execute(
                delete(page_layouts).where(c.operator == operator, c.report == report)
            )
            if layout:
                row = {"operator": operator, "report": report, "layout": layout}
                connection.execute(insert(page_layouts).values(row))

        await self._changes.note(work)
