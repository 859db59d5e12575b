"""The dashboard and the alert rules in deploy/ speak of metrics and labels that there are."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metrics.prometheus import METRICS, Facts, Sample, exposition
from tests.harness.programs import need_program

DEPLOY = Path(__file__).parents[3] / "deploy"
ALWAYS = {"instance", "job", "le"}
SUFFIXES = ("_bucket", "_sum", "_count")


def expressions() -> Iterator[str]:
    """Give every PromQL expression of the two files."""
    board: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]
    rules = (DEPLOY / "alerts.yml").read_text("utf-8")
    yield from re.findall(r"(?m)^ +expr: (?!\|)(.+)$", rules)
    yield from re.findall(r"(?m)^ +expr: \|\n((?: {10,}.+\n)+)", rules)


def known(name: str) -> str:
    """Give the metric behind a name: of a histogram there are three."""
    for suffix in SUFFIXES:
        bare = name.removesuffix(suffix)
        if bare in METRICS and METRICS[bare].kind == "histogram":
            return bare
    return name


def test_every_name_exists_and_has_the_labels_that_are_asked_for() -> None:
    found = list(expressions())
    assert len(found) > 25
    for expression in found:
        names = {known(name) for name in re.findall(r"waypost_\w+", expression)}
        assert names, expression
        assert names <= set(METRICS), expression
        labels = {label for name in names for label in METRICS[name].labels} | ALWAYS
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
        for listed in re.findall(r"\b(?:by|without) \(([^)]*)\)", expression):
            asked |= {label.strip() for label in listed.split(",")}
        assert asked <= labels, expression


def test_counters_are_asked_for_by_their_rate() -> None:
    counters = {name for name, metric in METRICS.items() if metric.kind == "counter"}
    for expression in expressions():
        if expression.startswith("label_values"):
            continue
        plain = re.sub(r"(?:rate|increase)\(\w+(?:\{[^}]*\})?\[[^\]]+\]\)", "", expression)
        left = set(re.findall(r"waypost_\w+", plain))
        assert not left & counters, expression


async def _promtool(*arguments: str, given: bytes = b"") -> tuple[int, str]:
    running = await asyncio.create_subprocess_exec(
        need_program("promtool"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await running.communicate(given)
    return running.returncode or 0, said.decode()


async def test_promtool_takes_the_rules() -> None:
    status, said = await _promtool("check", "rules", str(DEPLOY / "alerts.yml"))
    assert status == 0, said
    broken, _ = await _promtool("check", "rules", str(DEPLOY / "grafana-dashboard.json"))
    assert broken != 0


async def test_promtool_takes_what_is_exposed() -> None:
    facts = Facts(
        events={("shop.test", "delivered"): 3},
        hits={("open", "human"): 2},
        reclassified={"human to scanner": 1},
        durations={1: 3},
        shunted=0,
    )
    samples = [
        Sample(metric.name, tuple("x" for _ in metric.labels), 1.0)
        for metric in METRICS.values()
        if metric.kind != "histogram"
        and metric.name
        not in ("waypost_events_total", "waypost_hits_reclassified_total", "waypost_shunted_events")
    ]
    status, said = await _promtool("check", "metrics", given=exposition(facts, samples))
    assert (status, said) == (0, "")
