"""Kills, pauses and continues processes of a running relay, at moments that a seed decides.

Moments are counted in acknowledged messages, not in seconds, so that a run does the same on a slow
machine: give `progress` to the driver. Only processes that the relay itself has named are touched,
each by its id.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """Once `after` messages are acknowledged: a signal to the process of that name."""

    after: int
    name: str
    signal: signal.Signals = signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What was done."""

    name: str
    pid: int
    signal: str


def plan(seed: int, names: Sequence[str], messages: int, strikes: int) -> list[Strike]:
    """Spread kills of the named processes over a run; the first falls early, none in the last
    tenth.
    """
    chance = random.Random(seed)  # noqa: S311 - the same plan for the same seed is the point
    moments = sorted(chance.randrange(1, max(2, messages * 9 // 10)) for _ in range(strikes))
    return [Strike(after=moment, name=chance.choice(names)) for moment in moments]


class Gremlin:
    """Carries out a plan; `pids` gives the living processes by name at the moment of asking."""

    def __init__(self, strikes: Sequence[Strike], pids: Callable[[], dict[str, int]]) -> None:
        """Take the plan and the way to find processes."""
        self.done: list[Struck] = []
        self._waiting = list(strikes)
        self._pids = pids

    @property
    def finished(self) -> bool:
        """Tell whether the whole plan is carried out."""
        return not self._waiting

    async def can_strike(self) -> bool:
        """Tell whether anybody who is still to be struck is alive."""
        alive = self._pids()
        return any(strike.name in alive for strike in self._waiting)

    def progress(self, acknowledged: int) -> None:
        """Strike if the moment has come; who is not alive just then is struck at a later moment."""
        due = [strike for strike in self._waiting if strike.after <= acknowledged]
        for strike in due:
            pid = self._pids().get(strike.name)
            if pid is not None and self._hit(pid, strike.signal):
                self._waiting.remove(strike)
                self.done.append(Struck(name=strike.name, pid=pid, signal=strike.signal.name))

    def _hit(self, pid: int, number: signal.Signals) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False
