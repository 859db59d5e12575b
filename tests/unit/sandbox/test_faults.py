"""Every name of a fault means what faults.py says, in the local part and in the domain."""

from __future__ import annotations

import pytest

from relay.sandbox.faults import Fault, How, Stage, fault_of, named, text_for
from relay.sandbox.part import Part, part_of, refusal_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("451-data", Fault(how=How.REPLY, stage=Stage.DATA, reply=text_for(451))),
        ("550-rcpt-ann", Fault(how=How.REPLY, stage=Stage.RCPT, reply=text_for(550))),
        ("421-dot", Fault(how=How.REPLY, stage=Stage.DOT, reply=text_for(421))),
        ("defer", Fault(how=How.REPLY, stage=Stage.RCPT, reply=text_for(451), tries=1)),
        ("defer3", Fault(how=How.REPLY, stage=Stage.RCPT, reply=text_for(451), tries=3)),
        ("defer2-dot-x", Fault(how=How.REPLY, stage=Stage.DOT, reply=text_for(451), tries=2)),
        ("defer2-dora", Fault(how=How.REPLY, stage=Stage.RCPT, reply=text_for(451), tries=2)),
        ("drop-at-mail", Fault(how=How.DROP, stage=Stage.MAIL)),
        ("drop-before-dot", Fault(how=How.CUT, stage=Stage.DATA)),
        ("drop-after-dot", Fault(how=How.DROP, stage=Stage.DOT)),
        ("drop1-after-dot", Fault(how=How.DROP, stage=Stage.DOT, tries=1)),
        ("drop2-before-dot", Fault(how=How.CUT, stage=Stage.DATA, tries=2)),
        ("drop3-at-rcpt", Fault(how=How.DROP, stage=Stage.RCPT, tries=3)),
        ("rst1-dot", Fault(how=How.RESET, stage=Stage.DOT, tries=1)),
        ("rst-rcpt", Fault(how=How.RESET, stage=Stage.RCPT)),
        ("slow", Fault(how=How.SLOW, stage=Stage.DOT, seconds=1.0)),
        ("slow-data250", Fault(how=How.SLOW, stage=Stage.DATA, seconds=0.25)),
    ],
)
def test_names(name: str, expected: Fault) -> None:
    assert named(name) == expected
    assert fault_of(name.encode() + b"@plain.test") == expected
    assert fault_of(b"ann@" + name.encode() + b".sink.test") == expected


@pytest.mark.parametrize(
    "name",
    [
        "ann",
        "451",
        "451-dots",
        "dropped",
        "drop-dot",
        "rst-before-dot",
        "slowly",
        "deferred",
        "250-rcpt",
        "",
    ],
)
def test_other_names_are_no_faults(name: str) -> None:
    assert named(name) is None
    assert fault_of(name.encode()) is None


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("ann", Part.ACCEPT),
        ("accept7", Part.ACCEPT),
        ("open", Part.OPEN),
        ("Open.Ann", Part.OPEN),
        ("click-17", Part.CLICK),
        ("bounce-x", Part.BOUNCE),
        ("bounce-later-x", Part.BOUNCE_LATER),
        ("hardbounce-later", Part.HARD_BOUNCE_LATER),
        ("softbounce-later", Part.SOFT_BOUNCE_LATER),
        ("softbounce", Part.SOFT_BOUNCE),
        ("unsubscribe9", Part.UNSUBSCRIBE),
        ("complainer", Part.COMPLAIN),
        ("autoreply", Part.AUTOREPLY),
        ("defer2-x", Part.DEFER),
    ],
)
def test_parts(local: str, expected: Part) -> None:
    assert part_of(local.encode() + b"@shop.sandbox.test") is expected
    assert part_of(local.encode() + b"@SANDBOX.test.") is expected
    assert part_of(local.encode() + b"@notsandbox.test") is Part.ACCEPT


@pytest.mark.parametrize(
    ("local", "reply"),
    [("bounce1", "550 5.1.1"), ("softbounce", "552 5.2.2"), ("defer2", "451"), ("deferred", "451")],
)
def test_refusals(local: str, reply: str) -> None:
    fault = refusal_of(local.encode() + b"@sandbox.test")
    assert fault is not None
    assert fault.reply.startswith(reply)
    assert refusal_of(local.encode() + b"@elsewhere.test") is None


@pytest.mark.parametrize("local", ["accept", "open", "bounce-later", "hardbounce-later", "ann"])
def test_takers(local: str) -> None:
    assert refusal_of(local.encode() + b"@sandbox.test") is None
