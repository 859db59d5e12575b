"""Where a delivery can go from where it is; every other move raises and changes nothing.

WAITING and HELD lie in the table `queued`, CLAIMED in the table `claimed`; None means that the
delivery has left the spool.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from relay.message import Disposition, State
from relay.spool.protocol import IllegalMoveError


class Fact(StrEnum):
    """What can happen to a delivery in the spool."""

    CLAIMED = "claimed"  # dispatch took it
    DONE = "done"  # the attempt was its last
    RETRY = "retry"  # the attempt was put off
    RETURN = "return"  # not attempted after all
    HOLD = "hold"  # somebody or a rule holds it
    RELEASE = "release"  # somebody lets it go on
    DIED = "died"  # the process died while it was claimed


MOVES: Mapping[State, Mapping[Fact, State | None]] = {
    State.WAITING: {
        Fact.CLAIMED: State.CLAIMED,
        Fact.DONE: None,  # cancelled
        Fact.RETRY: State.WAITING,  # retry now, or moved
        Fact.HOLD: State.HELD,
    },
    State.HELD: {
        Fact.RELEASE: State.WAITING,
        Fact.DONE: None,
    },
    State.CLAIMED: {
        Fact.DONE: None,
        Fact.RETRY: State.WAITING,
        Fact.RETURN: State.WAITING,
        Fact.HOLD: State.HELD,
        Fact.DIED: State.WAITING,
    },
}

FACTS: Mapping[Disposition, Fact] = {d: Fact(d.value) for d in Disposition}


def move(state: State, fact: Fact) -> State | None:
    """Give the state that `fact` leads to; raises IllegalMoveError where there is none."""
    try:
        return MOVES[state][fact]
    except KeyError:
        raise IllegalMoveError(f"a {state.name} delivery cannot be {fact.value}") from None
