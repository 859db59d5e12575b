"""Every mail of the corpus, where it is present: lossless, complete, and aligned by its checker."""

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


def test_every_mail_is_right_by_the_checker(checker: ModuleType) -> None:
    wrong: list[str] = []
    changed = 0
    for truth in truths():
        original = (CORPUS / "mails" / truth["file"]).read_bytes()
        assert hashlib.sha256(original).hexdigest() == truth["sha256"]
        new = offline.rewrite(original)
        found = checker.check(original, new, truth, offline.unmap, offline.is_pixel)
        changed += new != original
        if found["verdict"] == "wrong":
            wrong.append(f"{truth['file']}: {found['errors'][:2]}")
    assert wrong == []
    assert changed > 400


def test_rewriting_twice_is_rewriting_once() -> None:
    for truth in truths():
        once = offline.rewrite((CORPUS / "mails" / truth["file"]).read_bytes())
        assert offline.rewrite(once) == once, truth["file"]


def test_the_checker_sees_a_changed_byte(checker: ModuleType) -> None:
    truth = next(each for each in truths() if each["links"] and each["cte"] == "8bit")
    original = (CORPUS / "mails" / truth["file"]).read_bytes()
    new = offline.rewrite(original)
    broken = new.replace(b"</p>", b"</q>", 1) if b"</p>" in new else new + b"x"
    found = checker.check(original, broken, truth, offline.unmap, offline.is_pixel)
    assert found["verdict"] == "wrong"


def test_another_parser_finds_the_same_links() -> None:
    """Promise 3, by html5lib and the email package: each link is the original's or leads to it."""
    for truth in truths():
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
