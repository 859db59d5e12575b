"""Plays people and each kind of machine with known truth and prints the confusion table.

python -m bench.simulate_hits [--deliveries 2000] [--seed 1]

Hits go through the real judge and the real fold, in small batches and out of order between
recipients, so that late evidence corrects earlier verdicts as it does in a running relay. The
players are in `hit_players.py`. The figures inform and are no gate: the same people wrote the rules
and the players.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import Connection, select

from bench.hit_players import PLAYERS, START, Scene
from metrics.events import Event, Kind, decode, encode
from metrics.hits import Nature
from relay.clock import SECOND
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.facts_total import facts_total
from relay.ledger.fold import Folder
from relay.ledger.sums import check_sums
from relay.ledger.tables import events
from relay.process.judging import Judge
from relay.spool.protocol import Batch

BATCH = 40


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
