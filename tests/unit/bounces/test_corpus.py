"""Real mails and replies, where they lie beside the project: the figures must not fall.

The floors are what the reader reaches, rounded down; a change that lowers one has to be a decision.
Counted as the scorer of the corpus counts. Skipped, visibly, where the corpus is not there.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bounces.classify import classify_line
from bounces.read import read
from bounces.report import Category, Kind, Record

ROOT = Path(__file__).parents[3]
CORPUS = Path(os.environ.get("WAYPOST_CORPORA", ROOT.parent / "shared" / "corpora")) / "bounces"
pytestmark = pytest.mark.skipif(
    not (CORPUS / "truth.jsonl").exists(), reason=f"no corpus at {CORPUS}"
)
FLOORS = {
    "recipients right": 98.5,
    "category ok": 99.0,
    "reason right": 93.0,
    "complaint recipients": 97.0,
    "ignored": 95.0,
}
CEILINGS = {"hard missed": 4.0, "wrongly hard": 0.3, "false positives": 0.0}


def lines(name: str) -> Iterator[dict[str, object]]:
    """Read a file of JSON lines."""
    for line in (CORPUS / name).read_text(encoding="utf-8").split("\n"):
        if line.strip():
            yield json.loads(line)


def norm(address: object) -> str:
    """Bring an address to the form the truth is compared in."""
    text = str(address or "").strip().strip("<>").lower().rstrip(".")
    local, at, domain = text.rpartition("@")
    return f"{local.strip(chr(34))}@{domain.strip('[]')}" if at else text


def named(records: tuple[Record, ...], accept: object) -> Record | None:
    """Find the record of a recipient, by any of its spellings."""
    assert isinstance(accept, list)
    wanted = {norm(a) for a in accept}
    return next((r for r in records if norm(r.recipient) in wanted), None)


def score_bounce(
    truth: list[dict[str, object]], records: tuple[Record, ...], count: Counter[str]
) -> None:
    """Count one bounce."""
    if not all(t["recipient"] for t in truth):
        return
    found = [named(records, t["accept"]) for t in truth]
    count["recipients right of"] += 1
    count["recipients right"] += None not in found and len(records) == len(truth)
    for wanted, record in zip(truth, found, strict=True):
        allowed = wanted["category_ok"]
        assert isinstance(allowed, list)
        if wanted["category"] == "hard":
            count["hard missed of"] += 1
            count["hard missed"] += record is None or record.category != Category.HARD
        if record is not None:
            count["category ok of"] += 1
            count["category ok"] += record.category in allowed
            count["reason right of"] += bool(wanted["reason"] and record.reason)
            count["reason right"] += wanted["reason"] == record.reason != ""
            count["wrongly hard of"] += "hard" not in allowed
            count["wrongly hard"] += "hard" not in allowed and record.category == Category.HARD


def score(truth: list[dict[str, object]], records: tuple[Record, ...], count: Counter[str]) -> None:
    """Count one mail."""
    kinds = {str(t["category"]) for t in truth}
    said = {record.category.value for record in records}
    if kinds & {"hard", "soft"}:
        score_bounce(truth, records, count)
    elif "feedback" in kinds:
        known = [t for t in truth if t["recipient"]]
        count["complaint recipients of"] += bool(known)
        count["complaint recipients"] += bool(known) and all(
            named(records, t["accept"]) for t in known
        )
    elif "ignored" in kinds:
        count["ignored of"] += 1
        count["ignored"] += said == {"ignored"}
    else:
        count["false positives of"] += 1
        count["false positives"] += bool(said & {"hard", "soft", "feedback"})


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    """Read the whole corpus once; per cent of each figure."""
    count: Counter[str] = Counter()
    for truth in lines("truth.jsonl"):
        report = read((CORPUS / str(truth["file"])).read_bytes())
        records = truth["records"]
        assert isinstance(records, list)
        score(records, report.records, count)
    return {name: 100 * count[name] / max(count[f"{name} of"], 1) for name in FLOORS | CEILINGS}


@pytest.mark.parametrize("name", FLOORS)
def test_figure_does_not_fall(figures: dict[str, float], name: str) -> None:
    """What is to be high."""
    assert figures[name] >= FLOORS[name]


@pytest.mark.parametrize("name", CEILINGS)
def test_figure_does_not_rise(figures: dict[str, float], name: str) -> None:
    """What is to be low."""
    assert figures[name] <= CEILINGS[name]


def test_replies_are_classified() -> None:
    """Class, coarse group, and nobody hard who is not."""
    count: Counter[str] = Counter()
    for truth in lines("replies.jsonl"):
        if truth.get("synthetic") or truth.get("weak"):
            continue
        judged = classify_line(str(truth["reply"]))
        count["all"] += 1
        count["class"] += judged.klass in str(truth["class_ok"])
        count["coarse"] += judged.coarse in str(truth["coarse_ok"])
        count["soft"] += "hard" not in str(truth["category_ok"])
        count["wrong"] += "hard" not in str(truth["category_ok"]) and judged.category == "hard"
    assert count["class"] >= 0.88 * count["all"]
    assert count["coarse"] >= 0.94 * count["all"]
    assert count["wrong"] <= 0.007 * count["soft"]


@pytest.mark.parametrize("cut", [0.3, 0.7])
def test_real_mails_cut_short_are_still_read(cut: float) -> None:
    """A mail that lost its end is read as something, without an exception."""
    for file in sorted((CORPUS / "mails").glob("*/*")):
        message = file.read_bytes()
        assert read(message[: int(len(message) * cut)]).kind in Kind
