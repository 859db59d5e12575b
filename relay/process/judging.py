"""Who made a hit, by the rules of `tracking.machines`, in the form in which the fold asks."""

from __future__ import annotations

from collections.abc import Sequence

from metrics.events import Event, Hit, Kind
from metrics.hits import Circumstances, Nature, Verdict
from tracking import machines, platforms

_KINDS = {Kind.OPENED: "open", Kind.CLICKED: "click"}
_NATURES = frozenset(nature.label for nature in Nature)
_MAY_BE_A_PERSON = frozenset({Nature.HUMAN, Nature.UNKNOWN})


class Judge:
    """A `metrics.hits.Classifier`."""

    def classify(self, around: Circumstances, hits: Sequence[Event]) -> Sequence[Verdict]:
        """Judge each hit by itself and in the company of the delivery's other hits."""
        known = [_hit(event, around) for event in hits]
        verdicts = []
        for event, hit, said in zip(hits, known, machines.classify_all(known), strict=True):
            seen = event.hit
            if seen is not None and seen.judged in _NATURES:
                verdicts.append(_with_judgement(said, seen))
                continue
            platform = platforms.read(hit.user_agent)
            verdicts.append(Verdict(Nature[said.kind.upper()], platform.system))
        return verdicts


def _with_judgement(said: machines.Verdict, seen: Hit) -> Verdict:
    """Take what the tracking host said of a hit, unless the hit's company says that it was a
    machine.
    """
    nature = Nature[seen.judged.upper()]
    if nature in _MAY_BE_A_PERSON and said.kind == "scanner":
        nature = Nature.SCANNER
    return Verdict(nature, seen.platform)


def _hit(event: Event, around: Circumstances) -> machines.Hit:
    seen = event.hit
    return machines.Hit(
        at=event.at,
        kind=_KINDS[event.kind],
        delivery=event.delivery,
        link=seen.link if seen else 0,
        method=seen.method if seen else "GET",
        user_agent=seen.user_agent if seen else "",
        address=seen.address if seen else "",
        headers={"purpose": seen.purpose} if seen and seen.purpose else {},
        sent_at=around.delivered_at or None,
    )
