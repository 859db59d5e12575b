"""Plays people and each kind of machine with known truth and prints the confusion table.

python -m bench.simulate_hits [--deliveries 2000] [--seed 1]

Hits go through the real judge and the real fold, in small batches and out of order between
recipients, so that late evidence corrects earlier verdicts as it does in a running relay. Timings
and user agents are the published ones (836 scanner bursts: when a burst begins, how long after the
scanner's open, all links within a second). The figures inform and are no gate: the same people
wrote the rules and the players, and a share of players is made to be hard on purpose (people who
open links in a hurry, scanners that take their time).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select

from metrics.events import Event, Hit, Kind, decode, encode
from metrics.hits import Nature
from relay.clock import SECOND
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.facts_total import facts_total
from relay.ledger.fold import Folder
from relay.ledger.sums import check_sums
from relay.ledger.tables import events
from relay.process.judging import Judge
from relay.spool.protocol import Batch

START = 1_790_000_000 * SECOND
LINKS = 9
BATCH = 40

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)
APPLE = "Mozilla/5.0"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
PRESCAN = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
YAHOO = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
NAMED = (
    "Barracuda Sentinel (EE)",
    "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
    "Mimecast-URL-Protect/1.0",
    "Cisco-IronPort-Scanner/1.0",
)
# When a scanner's burst begins after sending, in seconds, with its share (published).
BURSTS = ((0.005, 3, 10), (0.022, 10, 20), (0.664, 20, 60), (0.283, 60, 300), (0.026, 300, 1800))


@dataclass(slots=True)
class Scene:
    """One delivery's hits; times in seconds after it was delivered."""

    dice: random.Random
    delivery: int
    hits: list[Event] = field(default_factory=list)

    def visitor(self) -> tuple[str, str]:
        """Give a browser and an address of its own."""
        dice = self.dice
        address = f"198.51.{dice.randrange(256)}.{dice.randrange(1, 255)}"
        return dice.choice(BROWSERS), address

    def hit(
        self,
        truth: Nature,
        player: str,
        after: float,
        visitor: tuple[str, str],
        link: int = 0,
        method: str = "GET",
    ) -> None:
        """Add an open (link 0) or a click."""
        agent, address = visitor
        url = f"https://shop.test/{link}" if link else ""
        self.hits.append(
            Event(
                kind=Kind.CLICKED if link else Kind.OPENED,
                at=START + round(after * SECOND),
                delivery=self.delivery,
                account=1,
                metadata={"truth": truth.label, "player": player},
                hit=Hit(method=method, user_agent=agent, address=address, link=link, url=url),
            )
        )


def reader(scene: Scene) -> None:
    """Open after minutes or hours, read, follow a link or two."""
    _reads(scene, "person", scene.visitor())


def hurried(scene: Scene) -> None:
    """Open three links in tabs, one right after the other: hard to tell from a machine."""
    who, at = scene.visitor(), scene.dice.uniform(60, 7200)
    scene.hit(Nature.HUMAN, "person in a hurry", at, who)
    for link in scene.dice.sample(range(1, LINKS + 1), 3):
        at += scene.dice.uniform(0.5, 2.5)
        scene.hit(Nature.HUMAN, "person in a hurry", at, who, link)


def at_gmail(scene: Scene) -> None:
    """Looked at by Gmail on arrival, opened through its proxy, links by the person's browser."""
    scene.hit(
        Nature.PREFETCH, "gmail on arrival", scene.dice.uniform(0.3, 3), (PRESCAN, "66.249.84.1")
    )
    at = scene.dice.uniform(30, 86_400)
    scene.hit(Nature.PROXY, "gmail proxy", at, (GMAIL, "66.249.84.7"))
    _clicks(scene, "person at gmail", scene.visitor(), at)


def at_yahoo(scene: Scene) -> None:
    """Opened through Yahoo's proxy."""
    at = scene.dice.uniform(30, 86_400)
    scene.hit(Nature.PROXY, "yahoo proxy", at, (YAHOO, "74.6.1.1"))
    _clicks(scene, "person at yahoo", scene.visitor(), at)


def at_apple(scene: Scene) -> None:
    """Fetched by Mail Privacy Protection whenever the phone has power; some read it too."""
    scene.hit(
        Nature.PREFETCH, "apple privacy", scene.dice.uniform(5, 14_400), (APPLE, "104.28.1.1")
    )
    if scene.dice.random() < 0.3:
        _clicks(scene, "person at apple", scene.visitor(), scene.dice.uniform(600, 86_400))


def named_scanner(scene: Scene) -> None:
    """A scanner that says what it is."""
    who = (scene.dice.choice(NAMED), "203.0.113.9")
    _burst(scene, "scanner with a name", who, _begin(scene.dice))


def browser_scanner(scene: Scene) -> None:
    """A scanner that looks like a browser (Microsoft and others): open, then all links at once."""
    _burst(scene, "scanner like a browser", scene.visitor(), _begin(scene.dice))


def head_scanner(scene: Scene) -> None:
    """A scanner that asks for the head first."""
    who, at = scene.visitor(), _begin(scene.dice)
    link = scene.dice.randint(1, LINKS)
    scene.hit(Nature.SCANNER, "scanner with HEAD", at, who, link, "HEAD")
    scene.hit(Nature.SCANNER, "scanner with HEAD", at + 0.3, who, link)


def slow_scanner(scene: Scene) -> None:
    """A scanner that takes minutes for its links: the rules are known to miss it."""
    who, at = scene.visitor(), _begin(scene.dice)
    for link in range(1, LINKS + 1):
        scene.hit(Nature.SCANNER, "slow scanner", at, who, link)
        at += scene.dice.uniform(10, 35)


def behind_a_scanner(scene: Scene) -> None:
    """A scanner first, then the person it protects, from another address."""
    _burst(scene, "scanner before a person", scene.visitor(), _begin(scene.dice))
    _reads(scene, "person behind a scanner", scene.visitor())


PLAYERS: tuple[tuple[float, Callable[[Scene], None]], ...] = (
    (0.26, reader),
    (0.03, hurried),
    (0.18, at_gmail),
    (0.06, at_yahoo),
    (0.18, at_apple),
    (0.06, named_scanner),
    (0.10, browser_scanner),
    (0.03, head_scanner),
    (0.02, slow_scanner),
    (0.08, behind_a_scanner),
)


def _reads(scene: Scene, player: str, who: tuple[str, str]) -> None:
    at = scene.dice.uniform(60, 86_400)
    scene.hit(Nature.HUMAN, player, at, who)
    _clicks(scene, player, who, at)


def _clicks(scene: Scene, player: str, who: tuple[str, str], at: float) -> None:
    for link in scene.dice.sample(range(1, LINKS + 1), scene.dice.choice((0, 0, 1, 1, 2))):
        at += scene.dice.expovariate(1 / 25) + 2
        scene.hit(Nature.HUMAN, player, at, who, link)


def _burst(scene: Scene, player: str, who: tuple[str, str], begin: float) -> None:
    scene.hit(Nature.SCANNER, player, max(1.0, begin - scene.dice.uniform(20, 45)), who)
    for link in range(1, LINKS + 1):
        scene.hit(Nature.SCANNER, player, begin + scene.dice.uniform(0, 1), who, link)


def _begin(dice: random.Random) -> float:
    chosen = dice.choices(BURSTS, [share for share, _, _ in BURSTS])[0]
    return dice.uniform(*chosen[1:])


def play(deliveries: int, dice: random.Random) -> tuple[list[Event], list[Event]]:
    """Give acceptances and deliveries, and all hits in the order in which they happen."""
    told: list[Event] = []
    hits: list[Event] = []
    for number in range(1, deliveries + 1):
        told += (_told(Kind.ACCEPTED, number, START - SECOND), _told(Kind.DELIVERED, number, START))
        scene = Scene(dice, number)
        dice.choices([act for _, act in PLAYERS], [share for share, _ in PLAYERS])[0](scene)
        hits += scene.hits
    return told, sorted(hits, key=lambda event: event.at)


def _told(kind: Kind, number: int, at: int) -> Event:
    return Event(
        kind=kind,
        at=at,
        delivery=number,
        message=number,
        account=1,
        sending_domain="shop.test",
        recipient=f"r{number}@inbox.test",
        recipient_domain="inbox.test",
    )


async def fold(ledger: Ledger, told: Sequence[Event], hits: Sequence[Event]) -> None:
    """Fold facts in batches as they happened."""
    folder = Folder(ledger, Judge())
    for at, batch in enumerate(_batches([*told, *hits]), start=1):
        await folder.fold("bench", [Batch(at, tuple(encode(event) for event in batch))])


def _batches(facts: Sequence[Event]) -> Iterator[Sequence[Event]]:
    for at in range(0, len(facts), BATCH):
        yield facts[at : at + BATCH]


def verdicts(connection: Connection) -> Counter[tuple[str, str, str]]:
    """Count stored verdicts by player, truth and nature."""
    found: Counter[tuple[str, str, str]] = Counter()
    rows = connection.execute(
        select(events.c.body, events.c.nature).where(events.c.nature.is_not(None))
    )
    for body, nature in rows:
        said = decode(bytes(body)).metadata
        found[said["player"], said["truth"], Nature(nature).label] += 1
    return found


def table(found: Counter[tuple[str, str, str]]) -> str:
    """Write the confusion table, then the players one by one."""
    natures = [nature.label for nature in Nature]
    lines = ["truth \\ verdict   " + "".join(f"{name:>10}" for name in natures) + "     right"]
    for truth in natures:
        row = [
            sum(n for (_, t, v), n in found.items() if (t, v) == (truth, name)) for name in natures
        ]
        if sum(row):
            right = row[natures.index(truth)] / sum(row)
            lines.append(f"{truth:17} " + "".join(f"{n:10}" for n in row) + f"{right:10.2%}")
    lines += ["", f"{'player':26}{'hits':>7}{'right':>9}  taken for people"]
    for player in sorted({player for player, _, _ in found}):
        own = {key: n for key, n in found.items() if key[0] == player}
        total = sum(own.values())
        right = sum(n for (_, truth, verdict), n in own.items() if truth == verdict)
        people = sum(n for (_, _, verdict), n in own.items() if verdict in ("human", "proxy"))
        lines.append(f"{player:26}{total:7}{right / total:9.2%}  {people / total:.2%}")
    return "\n".join(lines)


async def main() -> None:
    """Play, fold, and print."""
    parser = argparse.ArgumentParser(description="people and machines with known truth")
    parser.add_argument("--deliveries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = random.Random(options.seed)  # noqa: S311 - a simulation wants to be repeatable
    told, hits = play(options.deliveries, dice)
    with tempfile.TemporaryDirectory() as folder:
        async with open_ledger(f"sqlite:///{Path(folder) / 'ledger.sqlite'}") as ledger:
            await fold(ledger, told, hits)
            print(f"{options.deliveries} deliveries, {len(hits)} hits, seed {options.seed}\n")
            print(table(await ledger.read(verdicts)))
            moved = (await facts_total(ledger)).reclassified
            print("\ncorrected on later evidence:", dict(moved) or "nothing")
            differences = await check_sums(ledger)
            print("sums:", differences or "hold")


if __name__ == "__main__":
    asyncio.run(main())
