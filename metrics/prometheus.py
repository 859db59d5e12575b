"""The Prometheus registry: every metric name of Waypost, and the text exposition made from them.

Counters of facts come from the ledger's first-fact counters, kept in the transaction that folds the
facts: they survive restarts and never fall; what is judged differently later is counted by
`waypost_hits_reclassified_total`. Gauges and counters of the processes come from whoever runs
(workers, control) as plain numbers by name. Labels are bounded: registered sending domains and
`other`, results, kinds; never an address, never a free recipient domain. `METRICS` is the list that
documentation, dashboards and alert rules are checked against.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from metrics.durations import LAST, upper_ms

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Named(NamedTuple):
    """One metric: name as exposed, kind, labels, help."""

    name: str
    kind: str  # counter, gauge or histogram
    labels: tuple[str, ...]
    text: str


METRICS: dict[str, Named] = {
    metric.name: metric
    for metric in (
        Named("waypost_info", "gauge", ("version", "node"), "Always 1; what runs here."),
        Named(
            "waypost_events_total", "counter", ("sending_domain", "result"),
            "Facts folded, by kind; bounces by category, at delivery or later.",
        ),
        Named(
            "waypost_hits_reclassified_total", "counter", ("change",),
            "Hits judged differently on later evidence.",
        ),
        Named(
            "waypost_delivery_seconds", "histogram", (),
            "Time from acceptance to the final reply of delivered mail.",
        ),
        Named("waypost_shunted_events", "gauge", (), "Facts set aside because unreadable."),
        Named("waypost_queued", "gauge", ("queue",), "Deliveries in the spools, by state."),
        Named("waypost_oldest_queued_seconds", "gauge", (), "Age of the oldest waiting delivery."),
        Named(
            "waypost_ledger_durable", "gauge", (),
            "0 while the ledger's server runs without fsync: a power cut may lose what it said.",
        ),
        Named("waypost_outbox_bytes", "gauge", ("worker",), "Facts not folded yet."),
        Named("waypost_outbox_lag_seconds", "gauge", ("worker",), "Age of the oldest such fact."),
        Named("waypost_worker_up", "gauge", ("worker",), "1 while a worker is connected."),
        Named("waypost_worker_peak_bytes", "gauge", ("worker",), "Most memory it ever had."),
        Named("waypost_worker_descriptors", "gauge", ("worker",), "Open files and connections."),
        Named("waypost_worker_tasks", "gauge", ("worker",), "Tasks of its event loop."),
        Named(
            "waypost_worker_lag_seconds", "gauge", ("worker",),
            "How late its event loop came back at worst, since its last word a second ago.",
        ),
        Named(
            "waypost_spool_commit_seconds", "gauge", ("worker",),
            "Longest group commit since the worker's last word, about a second ago.",
        ),
        Named("waypost_connections", "gauge", ("listener",), "Open connections by listener."),
        Named(
            "waypost_log_errors_total", "counter", ("process", "cause"),
            "Errors in the log of control and of each worker since its start; of them those for "
            "lack of memory.",
        ),
        Named(
            "waypost_submissions_total", "counter", ("result",), "Messages at the end of DATA."
        ),
        Named(
            "waypost_limits_total", "counter", ("limit",),
            "Replies that told an SMTP client of a limit, by its name.",
        ),
        Named(
            "waypost_tracking_requests_total", "counter", ("kind", "classification"),
            "Requests to the tracking host: hits as first judged, and those that record none.",
        ),
        Named(
            "waypost_rewrite_skipped_total", "counter", ("reason",),
            "Messages that were to be tracked and went out untouched.",
        ),
        Named(
            "waypost_tls_sessions_total", "counter", ("policy", "result"),
            "Sessions with MX hosts that tried TLS, in the words of RFC 8460.",
        ),
        Named("waypost_hits_lost_total", "counter", (), "Hits answered and not recorded."),
        Named(
            "waypost_hits_withdrawn_total", "counter", (),
            "Hits not recorded because the recipient withdrew from tracking.",
        ),
        Named(
            "waypost_tracking_hosts_failing", "gauge", (),
            "Sending domains whose own tracking host failed its check, and the default host if it "
            "did: their mail goes out untracked.",
        ),
        Named(
            "waypost_inbound_mails_total", "counter", ("kind",),
            "Mails that came back, by what they are; recipients refused; reports not linked, and "
            "such that name somebody else.",
        ),
        Named(
            "waypost_brake_level", "gauge", ("sending_domain", "kind"),
            "0 good, 1 warned, 2 stopped, for complaints and bounces in the window.",
        ),
        Named(
            "waypost_brake_rate", "gauge", ("sending_domain", "kind"),
            "Complaints per delivered, hard bounces per sent message in the window.",
        ),
    )
}  # fmt: skip


class Sample(NamedTuple):
    """One number of one metric; `labels` in the order of the metric's label names."""

    name: str
    labels: tuple[str, ...]
    value: float


class Facts(NamedTuple):
    """What the ledger gives: first-fact counters, delivery times by bucket, unreadable facts."""

    events: Mapping[tuple[str, str], int]  # (sending domain, result)
    hits: Mapping[tuple[str, str], int]  # (kind, classification)
    reclassified: Mapping[str, int]
    durations: Mapping[int, int]
    shunted: int


def exposition(facts: Facts, samples: Iterable[Sample]) -> bytes:
    """Give the text exposition (format 0.0.4) of the facts and of samples by worker and control.

    Raises KeyError for a sample whose name is not in `METRICS`, ValueError for wrong labels: a name
    that is not documented must not be exposed.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*_of_samples([*_of_facts(facts), *samples]), _histogram(facts)]))
    return generate_latest(registry)


class _Once(Collector):
    """Hands ready families to the library that knows how to write them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _of_facts(facts: Facts) -> list[Sample]:
    samples = [Sample("waypost_events_total", key, n) for key, n in sorted(facts.events.items())]
    samples += [
        Sample("waypost_hits_reclassified_total", (change,), n)
        for change, n in sorted(facts.reclassified.items())
    ]
    samples += [
        Sample("waypost_tracking_requests_total", key, n) for key, n in sorted(facts.hits.items())
    ]
    samples.append(Sample("waypost_shunted_events", (), facts.shunted))
    return samples


def _of_samples(samples: Iterable[Sample]) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for name, labels, value in samples:
        known = METRICS[name]
        if len(labels) != len(known.labels):
            raise ValueError(f"{name}: labels {labels!r}, expected {known.labels!r}")
        family = families.get(name)
        if family is None:
            make = CounterMetricFamily if known.kind == "counter" else GaugeMetricFamily
            family = families[name] = make(name, known.text, labels=known.labels)
        family.add_metric(labels, value)
    yield from families.values()


def _histogram(facts: Facts) -> Metric:
    """Give the delivery times; every fourth bucket (a factor of two) is a bound."""
    known = METRICS["waypost_delivery_seconds"]
    family = HistogramMetricFamily(known.name, known.text)
    buckets, total, seconds = [], 0, 0.0
    for bucket in range(LAST + 1):
        count = facts.durations.get(bucket, 0)
        total += count
        seconds += count * upper_ms(bucket) / 1000
        if bucket % 8 == 0:
            buckets.append((f"{upper_ms(bucket) / 1000:g}", float(total)))
    buckets.append(("+Inf", float(total)))
    family.add_metric([], buckets, seconds)
    return family
