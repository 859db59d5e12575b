"""Percentiles, distinct counts, questions and the Prometheus text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.catalogue import DERIVED, PERCENTILES, describe, stored_parts
from metrics.distinct import EXACT_UPTO, Crowd, add_to, merged
from metrics.durations import LAST, bucket_of, percentile, upper_ms
from metrics.intervals import DAY, HOUR, Interval
from metrics.measures import NAMES, RECIPIENTS
from metrics.prometheus import METRICS, Facts, Sample, exposition
from metrics.questions import Question, UnanswerableError, derive, plan

MIDNIGHT = 20_000 * DAY
NO_FACTS = Facts({}, {}, {}, {}, 0)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200), st.floats(0.01, 1))
def test_percentiles_are_near(times: list[int], share: float) -> None:
    """A percentile from buckets is within a bucket's width of the exact one."""
    counts: dict[int, int] = {}
    for took in times:
        counts[bucket_of(took)] = counts.get(bucket_of(took), 0) + 1
    exact = sorted(times)[max(0, -int(-share * len(times) // 1) - 1)]
    found = percentile(counts, share)
    assert found is not None
    assert found <= upper_ms(min(bucket_of(exact) + 1, LAST)) + 1e-6
    assert percentile({}, share) is None


def test_buckets_cover_everything() -> None:
    """Zero, negative and absurd times have a bucket."""
    assert bucket_of(-5) == bucket_of(0) == bucket_of(1) == 0
    assert bucket_of(10**15) == LAST


@pytest.mark.parametrize("size", [1, EXACT_UPTO, 50_000])
def test_distinct_counts_are_close_and_merge(size: int) -> None:
    """Union of overlapping sketches: exact while small, below 2 % off when large."""
    rng = random.Random(size)  # noqa: S311 - a repeatable crowd
    keys = [rng.getrandbits(63) for _ in range(size)]
    half = size // 2
    union = merged([add_to(None, keys[: half + 1]), add_to(add_to(None, keys[half:]), keys[:1])])
    crowd = Crowd()
    crowd.add_sketch(union)
    crowd.add(keys[:1])
    tolerance = 0 if size <= EXACT_UPTO else size * 0.02
    assert abs(crowd.count() - size) <= tolerance


def ask(*measures: str, **changes: object) -> Question:
    """Make a question about one day."""
    asked: dict[str, object] = {"since": MIDNIGHT, "until": MIDNIGHT + DAY, **changes}
    return Question(measures=measures, **asked)  # type: ignore[arg-type]


def test_the_coarsest_cells_that_fit_are_used() -> None:
    """Days for whole UTC days, hours for most zones, quarters for the odd ones."""
    shanghai = ask(
        "sent",
        since=MIDNIGHT - 8 * HOUR,
        until=MIDNIGHT,
        interval=Interval.DAY,
        zone="Asia/Shanghai",
    )
    kathmandu = ask(
        "sent",
        since=MIDNIGHT - 20_700,
        until=MIDNIGHT,
        interval=Interval.DAY,
        zone="Asia/Kathmandu",
    )
    assert plan(ask("sent")).grain == DAY
    assert plan(shanghai).grain == HOUR
    assert plan(kathmandu).grain == 900
    assert plan(ask("sent", group_by=("tag",))).facet == "tag"
    assert plan(ask("open_rate")).columns == ("opened_human", "delivered")


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (ask("nonsense"), "measure 'nonsense'"),
        (ask(), "no measure"),
        (ask("sent", group_by=("colour",)), "dimension 'colour'"),
        (ask("sent", group_by=("tag", "provider")), "not counted together"),
        (ask("sent", group_by=("tag",), where={"platform": ("iOS",)}), "not counted together"),
        (ask("sent", group_by=("platform",)), "sent is not counted by platform"),
        (ask("opens", group_by=("platform",), order_by="sent"), "sent is not counted by"),
        (ask("sent", group_by=("tag",), since=MIDNIGHT + HOUR), "by UTC day"),
        (ask("opening_recipients", group_by=("tag",)), "not kept by tag"),
        (ask("delivery_p50_ms", group_by=("tag",)), "not kept by tag"),
        (ask("opening_recipients", interval=Interval.QUARTER), "by the hour"),
        (ask("sent", order_by="opening_recipients"), "in order of"),
        (ask("sent", since=MIDNIGHT + 1), "multiples of 15 minutes"),
        (ask("sent", until=MIDNIGHT), "since before until"),
        (ask("sent", since=-1), "since before until"),
        (ask("sent", until=MIDNIGHT + 900 * DAY, interval=Interval.QUARTER), "at most 5000"),
        (ask("sent", zone="../../etc/passwd"), "time zone"),
        (ask("sent", where={"account": ("1 or 1",)}), "ids of accounts"),
        (ask("sent", limit=-1), "limit"),
    ],
)
def test_what_cannot_be_answered_says_why(question: Question, why: str) -> None:
    """Refused with the reason, and where a cube is missing with what can be asked."""
    with pytest.raises(UnanswerableError, match=why):
        plan(question)


def test_every_measure_can_be_asked() -> None:
    """The catalogue describes exactly what plans accept."""
    for name in describe():
        assert name in plan(ask(name)).columns or name in {*DERIVED, *RECIPIENTS, *PERCENTILES}
    assert set(NAMES) <= set(describe())
    for derived in DERIVED.values():
        assert set(stored_parts(derived.name)) <= set(NAMES)


def test_rates_have_denominators() -> None:
    """A rate over nothing is no number; sums are."""
    assert derive("open_rate", {"opened_human": 1, "delivered": 4}) == 0.25
    assert derive("open_rate", {"opened_human": 0, "delivered": 0}) is None
    assert DERIVED["open_rate"].denominator == "delivered"


def test_the_exposition_is_what_prometheus_reads() -> None:
    """Counters, gauges, a cumulative histogram, escaped labels."""
    facts = Facts(
        events={("shop.test", "delivered"): 3},
        hits={("open", "human"): 2},
        reclassified={"human to scanner": 1},
        durations={0: 1, 40: 2},
        shunted=0,
    )
    text = exposition(
        facts,
        [
            Sample("waypost_worker_up", ('a"b\n',), 1),
            Sample("waypost_tracking_requests_total", ("open", "bad-token"), 5),
        ],
    ).decode()
    assert 'waypost_events_total{result="delivered",sending_domain="shop.test"} 3.0' in text
    assert 'waypost_hits_reclassified_total{change="human to scanner"} 1.0' in text
    asked = 'waypost_tracking_requests_total{classification="%s",kind="open"} %s'
    assert asked % ("human", "2.0") in text
    assert asked % ("bad-token", "5.0") in text
    assert text.count("# TYPE waypost_tracking_requests_total counter") == 1
    assert 'waypost_delivery_seconds_bucket{le="0.001"} 1.0' in text
    assert 'waypost_delivery_seconds_bucket{le="+Inf"} 3.0' in text
    assert "waypost_delivery_seconds_count 3.0" in text
    assert 'waypost_worker_up{worker="a\\"b\\n"} 1.0' in text


def test_only_documented_names_are_exposed() -> None:
    """An unknown name or a wrong number of labels is our bug."""
    with pytest.raises(KeyError):
        exposition(NO_FACTS, [Sample("waypost_surprise", (), 1)])
    with pytest.raises(ValueError, match="labels"):
        exposition(NO_FACTS, [Sample("waypost_worker_up", (), 1)])


def test_names_follow_the_conventions() -> None:
    """Prefix, base units, _total for counters and only for them."""
    for metric in METRICS.values():
        assert metric.name.startswith("waypost_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.text.endswith(".")
        assert "recipient" not in "".join(metric.labels)
