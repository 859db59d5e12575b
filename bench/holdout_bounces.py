"""How the reader of bounces would fare on mails that nobody had seen: phrases held back by group.

    python bench/holdout_bounces.py CORPUS OUT

CORPUS holds `mails/`, `truth.jsonl` and `replies.jsonl`. For each group of mails (a collection, or
the mails of one system within it) those phrases are taken out of the rules that occur in no other
group's texts, as if the rules had been written without having seen the group; phrases that occur in
no group at all stay, they were written from elsewhere. Writes `OUT/read.jsonl` and
`OUT/replies.jsonl` for the corpus's own scorer. An estimate from above: expressions, shapes and the
order of rules have seen everything.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from bounces import classify
from bounces.classify import classify_line
from bounces.commands import report_line
from bounces.read import read
from bounces.rules import Rule, RuleBook, load_rules

BOOK = load_rules()


class Spy(RuleBook):
    """A rule book that remembers the texts it was asked about."""

    def __init__(self) -> None:
        """Take all rules."""
        super().__init__(BOOK.rules)
        self.asked: set[str] = set()

    def first(self, text: str, code: str, enhanced: str, stage: str, provider: str) -> Rule | None:
        """Remember the text and answer."""
        self.asked.add(text)
        return super().first(text, code, enhanced, stage, provider)


def lines(file: Path) -> Iterator[dict[str, object]]:
    """Read a file of JSON lines."""
    for line in file.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            yield json.loads(line)


def group_of(file: str) -> str:
    """Name a mail's group: its collection, and the system where file names begin with it."""
    _, collection, name = file.split("/")
    stem = name.rpartition("-")[0]
    return f"{collection}/{stem}" if stem.count("-") == 1 else collection


def with_rules(book: RuleBook, work: Callable[[], bytes]) -> bytes:
    """Do a piece of work with these rules."""
    with patch.object(classify, "load_rules", lambda *_: book):
        return work()


def support_of(work: dict[str, list[Callable[[], bytes]]]) -> dict[str, set[str]]:
    """Say in which groups' texts each phrase occurs."""
    found: dict[str, set[str]] = defaultdict(set)
    phrases = {phrase for rule in BOOK.rules for phrase in rule.any}
    for group, pieces in work.items():
        spy = Spy()
        for piece in pieces:
            with_rules(spy, piece)
        whole = "\n".join(spy.asked)
        for phrase in phrases:
            if phrase in whole:
                found[phrase].add(group)
    return found


def without(group: str, support: dict[str, set[str]]) -> RuleBook:
    """Give the rules without the phrases that only this group's texts hold."""
    rules = []
    for rule in BOOK.rules:
        kept = tuple(phrase for phrase in rule.any if support.get(phrase) != {group})
        if kept or not rule.any:
            rules.append(replace(rule, any=kept))
    return RuleBook(tuple(rules))


def main() -> None:
    """Read everything, each group with its own rules, and write what was read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    work: dict[str, list[Callable[[], bytes]]] = defaultdict(list)
    order: list[tuple[str, str, Callable[[], bytes]]] = []
    for truth in lines(options.corpus / "truth.jsonl"):
        file = str(truth["file"])
        message = (options.corpus / file).read_bytes()

        def mail(message: bytes = message, file: str = file) -> bytes:
            return report_line(file, read(message))

        order.append(("read", group_of(file), mail))
    for truth in lines(options.corpus / "replies.jsonl"):

        def reply(said: str = str(truth["reply"])) -> bytes:
            judged = classify_line(said)
            shown = {"reply": said, "class": judged.klass, "category": judged.category}
            return json.dumps(shown).encode()

        order.append(("replies", f"{truth.get('provider', '')}/{truth['source']}"[:40], reply))
    for _, group, piece in order:
        work[group].append(piece)
    support = support_of(work)
    books = {group: without(group, support) for group in work}
    held = sum(len(groups) == 1 for groups in support.values())
    print(f"{len(work)} groups; {held} phrases occur in one group only and are held back from it")
    for kind in ("read", "replies"):
        with (options.out / f"{kind}.jsonl").open("wb") as out:
            for wanted, group, piece in order:
                if wanted == kind:
                    out.write(with_rules(books[group], piece) + b"\n")


if __name__ == "__main__":
    main()
