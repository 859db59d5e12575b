"""No stage of the route takes much more work per mail than it did when its cost was written down.

Counted in steps of the interpreter, which are the same on a busy machine as on an idle one. Where
a stage became dearer on purpose: `python -m bench.steps --keep`.
"""

from __future__ import annotations

import json

import pytest

from bench.steps import KEPT, python, stages, steps

BOUND = 1.5  # times what was written down
SLACK = 60  # steps: a small stage may grow by a branch or two


def test_no_stage_takes_much_more_than_it_did() -> None:
    kept = json.loads(KEPT.read_text()).get(python())
    if kept is None:
        pytest.skip(f"no counts of Python {python()}: python -m bench.steps --keep")
    counts = {name: steps(work) for name, work in stages().items()}
    assert counts.keys() == kept.keys()
    dearer = {
        name: f"{kept[name]} steps became {count}"
        for name, count in counts.items()
        if count > kept[name] * BOUND + SLACK
    }
    assert not dearer


def test_twice_the_work_is_twice_the_steps() -> None:
    """The control: a doubling does not pass unseen."""
    work = stages()["render"]

    def doubled() -> None:
        work()
        work()

    once, twice = steps(work), steps(doubled)
    assert once > SLACK * 4
    assert twice > once * BOUND + SLACK
