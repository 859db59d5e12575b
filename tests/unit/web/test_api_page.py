"""`docs/api.md` names every route, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness.routes import all_routes

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api.md"


def test_every_route_is_in_the_table_with_its_scope() -> None:
    """Method, path and scope as the code has them; rows of routes that are gone fail too."""
    rows = re.findall(r"^\| `([A-Z]+) (/\S*)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    listed = {(method, "/api/v1" + path, scope) for method, path, scope in rows}
    assert len(rows) == len(listed)
    assert listed == {(one.method, one.path, one.scope.value) for one in all_routes()}
