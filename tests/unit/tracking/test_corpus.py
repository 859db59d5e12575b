"""Every mail of the corpus, where it is present: lossless, complete, and aligned by its checker.

The short run takes a sample in which each shape, transfer encoding, charset and generator occurs.
"""

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.harness.tracked import read
from tracking import offline

ROOT = Path(__file__).parents[3]
CORPUS = Path(os.environ.get("WAYPOST_CORPORA", ROOT.parent / "shared" / "corpora")) / "mails"

pytestmark = [
    pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def checker() -> Iterator[ModuleType]:
    """The corpus's own checker, loaded from beside the mails."""
    sys.path.insert(0, str(CORPUS))
    spec = importlib.util.spec_from_file_location("check_rewrite", CORPUS / "check_rewrite.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(CORPUS))


def truths() -> list[dict[str, Any]]:
    if not CORPUS.is_dir():
        return []
    return [json.loads(line) for line in (CORPUS / "truth.jsonl").read_text().splitlines()]


def sample() -> list[dict[str, Any]]:
    """Give the first mail of each kind, in four ways of sorting them, and every fortieth."""
    seen: set[tuple[str, str]] = set()
    chosen = []
    for number, truth in enumerate(truths()):
        kinds = {(name, str(truth[name])) for name in ("shape", "cte", "charset", "generator")}
        if number % 40 == 0 or not kinds <= seen:
            chosen.append(truth)
        seen |= kinds
    return chosen


mails = pytest.mark.parametrize(
    "mails", [sample(), pytest.param(truths(), marks=pytest.mark.long)], ids=["sample", "all"]
)


@mails
def test_every_mail_is_right_by_the_checker(
    checker: ModuleType, mails: list[dict[str, Any]]
) -> None:
    wrong: list[str] = []
    changed = 0
    for truth in mails:
        original = (CORPUS / "mails" / truth["file"]).read_bytes()
        assert hashlib.sha256(original).hexdigest() == truth["sha256"]
        new = offline.rewrite(original)
        found = checker.check(original, new, truth, offline.unmap, offline.is_pixel)
        changed += new != original
        if found["verdict"] == "wrong":
            wrong.append(f"{truth['file']}: {found['errors'][:2]}")
    assert wrong == []
    assert changed > len(mails) // 2


@mails
def test_rewriting_twice_is_rewriting_once(mails: list[dict[str, Any]]) -> None:
    for truth in mails:
        once = offline.rewrite((CORPUS / "mails" / truth["file"]).read_bytes())
        assert offline.rewrite(once) == once, truth["file"]


def test_the_checker_sees_a_changed_byte(checker: ModuleType) -> None:
    truth = next(each for each in truths() if each["links"] and each["cte"] == "8bit")
    original = (CORPUS / "mails" / truth["file"]).read_bytes()
    new = offline.rewrite(original)
    broken = new.replace(b"</p>", b"</q>", 1) if b"</p>" in new else new + b"x"
    found = checker.check(original, broken, truth, offline.unmap, offline.is_pixel)
    assert found["verdict"] == "wrong"


@mails
def test_another_parser_finds_the_same_links(mails: list[dict[str, Any]]) -> None:
    """Promise 3, by html5lib and the email package: each link is the original's or leads to it."""
    for truth in mails:
        if not truth["links"] or truth["stdlib_disagrees"] or truth["mime_defects"]:
            continue
        original = (CORPUS / "mails" / truth["file"]).read_bytes()
        new = offline.rewrite(original)
        if new == original:
            continue
        before, after = read(original), read(new)
        assert len(before.hrefs) == len(after.hrefs), truth["file"]
        for was, now, target in zip(before.hrefs, after.hrefs, after.targets, strict=True):
            assert now == was or trimmed(was) == target, (truth["file"], was, target)
        assert after.pixels <= 1


def trimmed(href: str) -> str:
    """Give what a browser's URL parser begins with."""
    return href.strip("".join(map(chr, range(33)))).translate({9: None, 10: None, 13: None})
