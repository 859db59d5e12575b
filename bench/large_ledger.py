"""What pages and questions cost on large ledgers: the table of docs/statistics.md.

Run `python -m bench.large_ledger 200000 2000000 ...`: for each number of deliveries a ledger is
filled through the real fold over the same cells (`bulk_ledger.py`), and every page, statistics
query and search of the log is asked over HTTP on the real admin listener; printed are the median
of `ROUNDS` turns by the clock, and of their CPU (client and server together, and what is left of
the time where others use the cores), in milliseconds. While it answers nothing is folded, but the
sightings that upkeep lets wait do wait. `--keep FOLDER` leaves the ledgers there, and takes those
that are there already.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench.bulk_ledger import DAYS, Load, differences, fill
from relay.clock import DAY, SECOND
from relay.control.services import Services
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.upkeep import Retention, Upkeep
from relay.web.clients import ClientAddress
from relay.web.page.app import add_page
from relay.web.page.live import Live
from tests.harness.admin import AdminUnderTest, admin_under_test

ROUNDS = 15
UNTIL = 1_790_000_000_000_000 // DAY * DAY
_PASSWORD = "correct horse battery"  # noqa: S105 - of a ledger made up here
_NUMBERS = (
    "requested,sent,delivered,delivery_rate,hard_bounces,soft_bounces,opened,opened_human,clicked"
)
_MEASURES = f"measures={_NUMBERS}"
_PEOPLE = "measures=delivered_recipients,opening_recipients,opening_recipients_human"


def _date(days_before: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime((UNTIL - days_before * DAY) // SECOND))


_UNTIL, _WHOLE = f"until={_date(0)}", f"since={_date(DAYS)}"
_CAMPAIGN, _DOMAIN = "campaign-39", "shop4.test"
_BY_DOMAIN = "group_by=recipient_domain&order_by=sent&limit=20"

QUESTIONS: dict[str, str] = {
    "totals": f"{_MEASURES},delivery_p50_ms,delivery_p95_ms",
    "totals of a campaign": f"{_MEASURES},delivery_p95_ms&campaign={_CAMPAIGN}",
    "by hour and sending domain": f"{_MEASURES}&group_by=sending_domain&interval=hour",
    "by 15 minutes, last day": f"{_MEASURES}&interval=15min&since={_date(1)}",
    "by day in Shanghai": f"{_MEASURES}&interval=day&zone=Asia/Shanghai",
    "campaigns with percentiles": f"{_MEASURES},delivery_p95_ms&group_by=campaign&order_by=sent",
    "campaign and template": f"{_MEASURES}&group_by=campaign&group_by=template",
    "top recipient domains": f"{_MEASURES}&{_BY_DOMAIN}",
    "top recipient domains of a sending domain": (
        f"{_MEASURES}&{_BY_DOMAIN}&sending_domain={_DOMAIN}"
    ),
    "top recipient domains of a campaign": f"{_MEASURES}&{_BY_DOMAIN}&campaign={_CAMPAIGN}",
    "one recipient domain by day": f"{_MEASURES}&recipient_domain=inbox003.test&interval=day",
    "providers": f"{_MEASURES}&group_by=provider",
    "bounce reasons": "measures=bounced_hard,bounced_soft&group_by=bounce_reason",
    "links": "measures=clicks,clicks_human&group_by=link&order_by=clicks&limit=50",
    "distinct recipients": _PEOPLE,
    "distinct recipients by day": f"{_PEOPLE}&interval=day",
    "distinct recipients by campaign": f"{_PEOPLE}&group_by=campaign",
    "distinct recipients of a campaign by hour": f"{_PEOPLE}&campaign={_CAMPAIGN}&interval=hour",
    "distinct recipients of top recipient domains": f"{_PEOPLE}&{_BY_DOMAIN}",
}
STATES = (
    "waiting", "deferred", "delivered", "bounced", "failed", "excluded", "rejected", "opened",
    "clicked", "unsubscribed", "complained",
)  # fmt: skip
AUDIENCES = ("opened", "clicked", "neither", "bounced", "unsubscribed", "complained")


@dataclass(slots=True)
class Site:
    """The admin listener over a large ledger, with an operator signed in."""

    admin: AdminUnderTest
    browser: aiohttp.ClientSession

    async def fetch(self, path: str) -> str:
        """Give an answer; raises RuntimeError for one that is none."""
        if path.startswith("/api/"):
            reply = await self.admin.ask("GET", path)
            status, text = reply.status, reply.text
        else:
            async with self.browser.get(self.admin.url + path, allow_redirects=False) as answer:
                status, text = answer.status, await answer.text()
        if status != 200:
            raise RuntimeError(f"{path}: {status} {text[:300]}")
        return text


def asked() -> dict[str, str]:
    """Give every path that is asked, by what it is called in the table."""
    paths: dict[str, str] = {
        "page: reports": "/",
        "page: live report of a campaign": f"/report?kind=campaign&name={_CAMPAIGN}",
        "page: numbers of a campaign's report": (
            f"/report/data.json?kind=campaign&name={_CAMPAIGN}"
        ),
        "page: numbers of a sending domain's report": (
            f"/report/data.json?kind=domain&name={_DOMAIN}"
        ),
        "page: data statistics": "/statistics",
        "page: data statistics by recipient domain": (
            f"/statistics?group_by=recipient_domain&sending_domain={_DOMAIN}&interval=total"
        ),
        "page: messages": "/messages",
        "page: settings": "/settings",
        "page: suppressions": "/suppressions",
        "page: audit": "/audit",
        "metrics": "/metrics",
    }
    for name, question in QUESTIONS.items():
        since = "" if "since=" in question else f"&{_WHOLE}"
        paths[f"stats: {name}"] = f"/api/v1/stats?{question}&{_UNTIL}{since}"
    for state in STATES:
        paths[f"log: {state}"] = f"/api/v1/deliveries?state={state}"
        paths[f"log: {state} of a campaign"] = (
            f"/api/v1/deliveries?state={state}&campaign={_CAMPAIGN}&account=1"
        )
    paths["messages of a campaign"] = f"/api/v1/messages?campaign={_CAMPAIGN}&account=1"
    paths["log: a recipient"] = "/api/v1/deliveries?recipient=person8@inbox001.test"
    paths["log: an unknown recipient"] = "/api/v1/deliveries?recipient=nobody@inbox001.test"
    for group in AUDIENCES:
        paths[f"audience: {group}"] = (
            f"/api/v1/audience?account=1&campaign={_CAMPAIGN}&group={group}"
        )
    return paths


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[Site]:
    """Serve the ledger in a folder, on the day after its last deliveries."""

    def more(app: web.Application, services: Services, ledger: Ledger) -> None:
        clients = ClientAddress(())
        add_page(app, services, Live(ledger), secure=False, clients=clients, clock=lambda: UNTIL)

    async with (
        admin_under_test(folder, clock=lambda: UNTIL, more=more) as admin,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
    ):
        name = f"bench{time.time_ns()}"
        made = await admin.ask("POST", "/operators", {"name": name, "password": _PASSWORD})
        if made.status != 201:
            raise RuntimeError(made.text)
        form = {"name": name, "password": _PASSWORD}
        async with browser.post(admin.url + "/login", data=form, allow_redirects=False) as answer:
            if answer.status != 303:
                raise RuntimeError(f"the operator cannot sign in: {answer.status}")
        yield Site(admin, browser)


async def measure(site: Site, rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Give the medians of time and CPU of each path in milliseconds; the first turn warms up."""
    found: dict[str, list[tuple[float, float]]] = {}
    paths = asked()
    for turn in range(rounds + 1):
        for name, path in paths.items():
            wall, cpu = time.perf_counter(), time.process_time()
            await site.fetch(path)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn:
                found.setdefault(name, []).append((wall * 1000, cpu * 1000))
    return {
        name: (statistics.median(w for w, _ in each), statistics.median(c for _, c in each))
        for name, each in found.items()
    }


async def make(folder: Path, deliveries: int) -> Load:
    """Fill a ledger in a folder."""
    folder.mkdir(parents=True)  # noqa: ASYNC240 - nothing else runs
    load = Load(deliveries, UNTIL)
    wall, cpu = time.perf_counter(), time.process_time()
    async with open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        await fill(ledger, load)
        wrong = await differences(ledger, load)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = (folder / "ledger.sqlite").stat().st_size
    events = load.expected.events
    print(
        f"{load.deliveries:,} deliveries, {events:,} events in {wall:,.0f} s, {cpu:,.0f} s of CPU "
        f"with making them: {events / cpu:,.0f} events per CPU second; {size / 1e9:.2f} GB",
        flush=True,
    )
    print("\n".join(wrong) or "what was asked agrees with what was made", flush=True)
    return load


async def cells(folder: Path) -> dict[str, int]:
    """Count the cells that answers are made from."""

    def count(connection: Any) -> dict[str, int]:
        names = ("quarters", "days", "facets", "durations", "sketches", "sightings")
        return {
            name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()  # noqa: S608
            for name in names
        }

    async with open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        await Upkeep(ledger, Retention(), clock=lambda: UNTIL).tidy()  # as control, every second
        return await ledger.read(count)


async def run(sizes: list[int], root: Path, rounds: int) -> None:
    """Fill, ask, print."""
    tables: dict[int, dict[str, tuple[float, float]]] = {}
    for size in sizes:
        folder = root / str(size)
        if not folder.exists():
            await make(folder, size)
        print(f"{size:,}: {await cells(folder)}", flush=True)
        async with serve(folder) as site:
            tables[size] = await measure(site, rounds)
    print(
        "| asked (ms by the clock / of CPU) | " + " | ".join(f"{size:,}" for size in sizes) + " |"
    )
    print("|---|" + "---|" * len(sizes))
    for name in asked():
        row = [f"{tables[size][name][0]:.1f} / {tables[size][name][1]:.1f}" for size in sizes]
        print(f"| {name} | " + " | ".join(row) + " |")


def main() -> None:
    """Measure the sizes that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("deliveries", type=int, nargs="+")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary)
        asyncio.run(run(options.deliveries, root, options.rounds))


if __name__ == "__main__":
    main()
