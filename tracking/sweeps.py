"""Which clicks of a delivery no person makes, seen together.

A sweep is a machine's way over the links of a mail: many within moments (`burst`), some within
minutes of a mail that nobody has opened (`links-unopened`), or one after the next, none left out
(`walk`). A second look is a click on a link where another visitor was just before.

Guarantees: pure functions of the clicks, in any order; each costs no more than sorting them.
Leaves to others: what a click is judged by first (`machines.py`), and the thresholds (`Behaviour`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tracking.machine_rules import Behaviour


class Click(NamedTuple):
    """A click: when (microseconds), on which link, by which user agent from which network."""

    at: int
    link: int
    agent: str
    network: str


def sweeps(clicks: Sequence[Click], first_open: int | None, behaviour: Behaviour) -> list[str]:
    """Give for each click the rule by which it belongs to a sweep, "" when to none.

    `first_open` is the moment of the delivery's first open, None when it was not opened.
    """
    rules = [""] * len(clicks)
    unopened = [
        index for index, click in enumerate(clicks) if first_open is None or click.at < first_open
    ]
    # The rule that is asked first has the last word.
    for index in _walking(clicks, behaviour):
        rules[index] = "walk"
    for index in _crowded(clicks, unopened, behaviour.unopened_links, behaviour.unopened):
        rules[index] = "links-unopened"
    for index in _crowded(clicks, range(len(clicks)), behaviour.burst_links, behaviour.burst):
        rules[index] = "burst"
    return rules


def second_looks(clicks: Sequence[Click], people: Iterable[int], span: int) -> set[int]:
    """Give the clicks on whose link one of `people` (indices of clicks) was just before, within
    `span` microseconds, with another user agent and from another network.

    One of the two is a person, the other a scanner that follows or precedes; which is not known,
    so that the later one is nobody's.
    """
    before: dict[int, list[int]] = {}
    for index in sorted(people, key=lambda each: clicks[each].at):
        before.setdefault(clicks[index].link, []).append(index)
    found = set()
    near = {link: _Near() for link in before}
    for index in sorted(range(len(clicks)), key=lambda each: clicks[each].at):
        click = clicks[index]
        if click.link not in before:
            continue
        seen, window = before[click.link], near[click.link]
        while window.end < len(seen) and clicks[seen[window.end]].at <= click.at:
            window.take(clicks[seen[window.end]])
        while window.start < window.end and clicks[seen[window.start]].at < click.at - span:
            window.drop(clicks[seen[window.start]])
        if window.strangers(click):
            found.add(index)
    return found


class _Near:
    """The people on one link within a window of time, counted by what tells them apart."""

    def __init__(self) -> None:
        self.start = self.end = 0
        self.agents: Counter[str] = Counter()
        self.networks: Counter[str] = Counter()
        self.visitors: Counter[tuple[str, str]] = Counter()

    def take(self, click: Click) -> None:
        self.end += 1
        self._count(click, +1)

    def drop(self, click: Click) -> None:
        self.start += 1
        self._count(click, -1)

    def _count(self, click: Click, by: int) -> None:
        self.agents[click.agent] += by
        self.networks[click.network] += by
        self.visitors[click.agent, click.network] += by

    def strangers(self, click: Click) -> int:
        """Count those who share neither user agent nor network with a click."""
        alike = self.agents[click.agent] + self.networks[click.network]
        return self.end - self.start - alike + self.visitors[click.agent, click.network]


def _crowded(clicks: Sequence[Click], which: Iterable[int], wanted: int, span: int) -> set[int]:
    """Give those of `which` in whose company so many distinct links were hit within one window."""
    order = sorted(which, key=lambda index: clicks[index].at)
    links: Counter[int] = Counter()
    found: set[int] = set()
    end = told = 0  # all before `told` that belong to a crowd are found
    for start, first in enumerate(order):
        while end < len(order) and clicks[order[end]].at - clicks[first].at <= span:
            links[clicks[order[end]].link] += 1
            end += 1
        if len(links) >= wanted:
            found.update(order[max(start, told) : end])
            told = end
        link = clicks[first].link
        links[link] -= 1
        if not links[link]:
            del links[link]
    return found


def _walking(clicks: Sequence[Click], behaviour: Behaviour) -> set[int]:
    """Give the clicks of each visitor who goes from one link to the next, none left out."""
    found: set[int] = set()
    run: list[int] = []
    length, last = 0, None
    for index in sorted(range(len(clicks)), key=lambda each: _in_steps(clicks[each])):
        click = clicks[index]
        if last is not None and _goes_on(last, click, behaviour.walk):
            length += click.link - last.link
        else:
            if length >= behaviour.walk_links:
                found.update(run)
            run, length = [], 1
        run.append(index)
        last = click
    if length >= behaviour.walk_links:
        found.update(run)
    return found


def _in_steps(click: Click) -> tuple[str, str, int, int]:
    return click.agent, click.network, click.at, click.link


def _goes_on(last: Click, click: Click, pause: int) -> bool:
    same = last.agent == click.agent and last.network == click.network
    return same and click.at - last.at <= pause and 0 <= click.link - last.link <= 1
