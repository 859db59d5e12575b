"""The demo from curtain to curtain: start, submit, deliver, play, compare, report.

Guarantees: everything listens on loopback and ends with the demo; the exit status is 0 only if
nothing was lost or doubled, untracked mail arrived byte for byte, every link led where it should,
and the relay's report equals what was played.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import smtplib
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from relay.demo.cast import Cast
from relay.demo.mails import TRACKED, UNTRACKED, Mail, mails
from relay.demo.reckoning import MEASURES, Reckoning, reckon
from relay.demo.report import fetch_report
from relay.demo.stage import Reach, Stage, StageError, free_ports
from relay.ledger.agreement import disagreements_of

_CLIENTS = 4
_SETTLE_SECONDS = 90.0
_PATIENCE_SECONDS = 20.0  # after the last thing was played, for the report to follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How the demo is asked for."""

    messages: int = 300
    seed: int = 1
    workers: int = 2
    keep: Path | None = None
    as_json: bool = False


def show(wish: Wish, reach: Reach) -> int:
    """Play the demo; give the exit status. `reach` opens the operator's way to the relay."""
    if wish.keep is not None:
        wish.keep.mkdir(parents=True, exist_ok=True)
        if any(wish.keep.iterdir()):
            print(f"waypost demo: {wish.keep} is not empty", file=sys.stderr)
            return 2
    folder = Path(tempfile.mkdtemp(prefix="waypost-demo-"))
    folder.chmod(0o700)
    try:
        return asyncio.run(_play(wish, folder, reach))
    except StageError as problem:
        print(f"waypost demo: {problem}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _play(wish: Wish, folder: Path, reach: Reach) -> int:
    notes = sys.stderr if wish.as_json else sys.stdout
    programme = list(mails(wish.messages, wish.seed))
    cast = _Company(wish, folder, reach)
    try:
        await cast.open(notes)
        await cast.submit(programme, notes)
        reckoning, report = await cast.settle(programme, notes)
    except StageError:
        print(cast.stage.log_tail() if cast.stage else "", file=sys.stderr)
        raise
    finally:
        await cast.close()
    if wish.keep is not None:
        _keep_submitted(wish.keep, programme)
    wrong = await disagreements_of(cast.stage.ledger_url) if cast.stage else []
    for line in wrong[:10]:
        print(f"DIFFERENT {line}", file=sys.stderr)
    summary = _summary(reckoning, report) | {"ledger_agrees": not wrong}
    if wish.as_json:
        print(json.dumps(summary, indent=2))
    else:
        _print_report(reckoning, report, summary)
    return 0 if _held(reckoning, summary) else 1


class _Company:
    """Relay, sink and players together."""

    stage: Stage | None = None

    def __init__(self, wish: Wish, folder: Path, reach: Reach) -> None:
        self._wish = wish
        self._folder = folder
        self._reach = reach
        self._cast: Cast | None = None
        self._login = ("", "")

    async def open(self, notes: TextIO) -> None:
        """Open the sink, start the relay, make accounts and domains."""
        # The sink needs the relay's ports and the relay the sink's: ports are found first.
        ports = free_ports()
        self._cast = Cast(
            ("127.0.0.1", ports.inbound), ("127.0.0.1", ports.tracking), self._wish.keep
        )
        sink = await self._cast.start()
        began = time.monotonic()
        self.stage = Stage(self._folder, sink, self._wish.workers, ports, self._reach)
        await self.stage.start()
        print(
            f"relay started ({self._wish.workers} workers, {time.monotonic() - began:.1f} s)",
            file=notes,
        )
        self._login = await asyncio.to_thread(self.stage.prepare, TRACKED, UNTRACKED)
        print(f"tracking is on for {TRACKED}, off for {UNTRACKED}", file=notes, flush=True)

    async def submit(self, programme: Sequence[Mail], notes: TextIO) -> None:
        """Hand in every mail over SMTP with STARTTLS and AUTH, by several clients at once."""
        stage = self._need_stage()
        done = 0

        def client(share: Sequence[Mail]) -> None:
            nonlocal done
            with smtplib.SMTP(*stage.submission, timeout=30) as smtp:
                smtp.starttls(context=_trusting())
                smtp.login(*self._login)
                for mail in share:
                    smtp.sendmail(mail.sender, list(mail.recipients), mail.content)
                    done += 1

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(_CLIENTS) as pool:
            clients = [
                loop.run_in_executor(pool, client, programme[start::_CLIENTS])
                for start in range(_CLIENTS)
            ]
            joined = asyncio.gather(*clients)
            while not joined.done():
                await asyncio.wait([joined], timeout=1.0)
                self._progress(f"submitted {done} of {len(programme)}", notes)
            try:
                await joined
            except (smtplib.SMTPException, OSError) as problem:
                raise StageError(f"a mail was not taken: {problem}") from None

    async def settle(
        self, programme: Sequence[Mail], notes: TextIO
    ) -> tuple[Reckoning, dict[str, dict[str, int]]]:
        """Wait until everything has arrived, been played and been counted."""
        cast, stage = self._need_cast(), self._need_stage()
        deadline = time.monotonic() + _SETTLE_SECONDS
        patience = 0.0
        while True:
            await asyncio.sleep(0.5)
            self._progress("waiting", notes)
            reckoning = reckon(programme, cast.got, cast.bodies, cast.played, UNTRACKED)
            if (reckoning.lost or not cast.quiet) and time.monotonic() < deadline:
                continue
            patience = patience or time.monotonic() + _PATIENCE_SECONDS
            report = await asyncio.to_thread(fetch_report, stage, (TRACKED, UNTRACKED))
            equal = all(
                report[domain] == figures.as_dict() for domain, figures in reckoning.domains.items()
            )
            if equal or time.monotonic() > patience:
                return reckoning, report

    async def close(self) -> None:
        """End everything that was started."""
        try:
            if self.stage is not None:
                await self.stage.stop()
        finally:
            if self._cast is not None:
                await self._cast.close()

    def _progress(self, what: str, notes: TextIO) -> None:
        cast = self._need_cast()
        kinds = [one.what for one in cast.played]
        print(
            f"  {what}; received {len(cast.got)}, opened {kinds.count('opened')}, "
            f"clicked {kinds.count('clicked')}, unsubscribed {kinds.count('unsubscribed')}, "
            f"bounced {kinds.count('bounced')}, complained {kinds.count('complained')}",
            file=notes,
            flush=True,
        )

    def _need_stage(self) -> Stage:
        if self.stage is None:
            raise StageError("the relay was not started")
        return self.stage

    def _need_cast(self) -> Cast:
        if self._cast is None:
            raise StageError("the sink was not started")
        return self._cast


def _trusting() -> ssl.SSLContext:
    """Accept the self-signed certificate of a relay that we started ourselves."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _keep_submitted(folder: Path, programme: Sequence[Mail]) -> None:
    """Leave what the driver submitted: octets, and a line each with the envelope."""
    (folder / "submitted").mkdir(exist_ok=True)
    with (folder / "submitted.jsonl").open("w", encoding="utf-8") as lines:
        for number, mail in enumerate(programme):
            (folder / "submitted" / f"{number:06}.eml").write_bytes(mail.content)
            line = {
                "number": number,
                "message_id": mail.id,
                "sender": mail.sender,
                "recipients": mail.recipients,
                "sending_domain": mail.sending_domain,
                "campaign": mail.campaign,
                "template": mail.template,
                "tracked": mail.sending_domain == TRACKED,
            }
            lines.write(json.dumps(line) + "\n")


def _summary(reckoning: Reckoning, report: dict[str, dict[str, int]]) -> dict[str, object]:
    totals = {
        name: sum(figures.counts[name] for figures in reckoning.domains.values())
        for name in MEASURES
    }
    return {
        **totals,
        "untracked_byte_identical": not reckoning.changed,
        "lost": len(reckoning.lost),
        "duplicated": len(reckoning.duplicated),
        "report_equals_played": all(
            report[domain] == figures.as_dict() for domain, figures in reckoning.domains.items()
        ),
    }


def _held(reckoning: Reckoning, summary: dict[str, object]) -> bool:
    return bool(
        summary["report_equals_played"]
        and summary["ledger_agrees"]
        and not reckoning.lost
        and not reckoning.duplicated
        and not reckoning.unexpected
        and not reckoning.changed
        and not reckoning.misled
        and not reckoning.failed
    )


def _print_report(
    reckoning: Reckoning, report: dict[str, dict[str, int]], summary: dict[str, object]
) -> None:
    domains = sorted(reckoning.domains)
    print(f"\n{'':24}" + "".join(f"{domain:>20}" for domain in domains))
    for name in MEASURES:
        cells = [f"{report[domain][name]:>20}" for domain in domains]
        print(f"{name:24}" + "".join(cells))
    print()
    for domain in domains:
        expected = reckoning.domains[domain].as_dict()
        for name, value in expected.items():
            if report[domain][name] != value:
                print(f"DIFFERENT {domain} {name}: reported {report[domain][name]}, played {value}")
    print(f"untracked mail byte for byte: {'yes' if not reckoning.changed else reckoning.changed}")
    print(f"lost: {summary['lost']}, duplicated: {summary['duplicated']}")
    for what, found in (
        ("unexpected", reckoning.unexpected),
        ("led elsewhere", reckoning.misled),
        ("refused", reckoning.failed),
    ):
        for line in found[:10]:
            print(f"{what}: {line}")
    equal = "equals" if summary["report_equals_played"] else "DIFFERS FROM"
    print(f"The report {equal} what was played.")
    agree = "agree" if summary["ledger_agrees"] else "DO NOT AGREE"
    print(f"Events, rows, cubes, answers and Prometheus' counters {agree}.")
