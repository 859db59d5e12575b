"""What the relay itself reports about the demo, asked where anybody would: the statistics API."""

from __future__ import annotations

from collections.abc import Sequence

from relay.demo.stage import Stage

# The demo's words, and the measures of the API that add up to each.
_SUMS = {
    "submitted": ("requested",),
    "delivered": ("delivered",),
    "bounced_hard": ("bounced_hard", "later_hard"),
    "bounced_soft": ("bounced_soft", "later_soft"),
    "opens": ("opens",),
    "opens_unique": ("opened",),
    "clicks": ("clicks",),
    "clicks_unique": ("clicked",),
    "unsubscribes": ("unsubscribes",),
    "complaints": ("complaints",),
}


def fetch_report(stage: Stage, domains: Sequence[str]) -> dict[str, dict[str, int]]:
    """Give the figures of each sending domain."""
    wanted = sorted({measure for parts in _SUMS.values() for measure in parts})
    report = {}
    with stage.operator() as door:
        for domain in domains:
            answer = door.ask("GET", f"/domains/{domain}/stats", query={"measures": wanted})
            values: dict[str, int] = {}
            for row in answer["rows"]:
                for name, value in row["values"].items():
                    values[name] = values.get(name, 0) + int(value or 0)
            report[domain] = {
                name: sum(values.get(part, 0) for part in parts) for name, parts in _SUMS.items()
            }
    return report
