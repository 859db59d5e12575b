"""What control says to Prometheus: facts from the ledger, gauges and counters from the workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

from bounces.report import Kind
from metrics.prometheus import Sample, exposition
from relay.acceptance.accept import SKIPPED
from relay.control.brakes import Standing
from relay.ledger.engine import Ledger
from relay.ledger.facts_total import facts_total
from relay.link.hub import Hub, Peer
from relay.log import CAUSES, errors
from relay.submission.replies import LIMITS
from relay.web.tracking import UNRECORDED

_SUBMITTED = ("accepted", "refused", "failed")
_NOTHING_READ: Mapping[str, int] = MappingProxyType({})
_CAME_BACK = (*(kind.value for kind in Kind), "refused", "unlinked", "mismatch")
_TLS_POLICIES = {"sts": "sts", "tlsa": "tlsa", "none": "no-policy-found"}
_TLS_RESULTS = (
    "success",
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "tlsa-invalid",
    "validation-failure",
)
_STATES = ("waiting", "claimed", "held")


class Measuring:
    """Gives the text exposition."""

    def __init__(
        self,
        ledger: Ledger,
        hub: Hub,
        node: str,
        workers: int,
        failing_hosts: Callable[[], Sized] = tuple,
        brakes: Callable[[], Iterable[Standing]] = tuple,
        reports: Mapping[str, int] = _NOTHING_READ,
    ) -> None:
        """Take where numbers come from; `reports` counts what control itself reads that came back,
        by kind.
        """
        self._reports = reports
        self._failing_hosts = failing_hosts
        self._brakes = brakes
        self._ledger = ledger
        self._hub = hub
        self._node = node
        self._workers = workers

    async def __call__(self) -> bytes:
        """Read everything now."""
        return exposition(await facts_total(self._ledger), list(self._samples()))

    def _samples(self) -> Iterator[Sample]:
        yield Sample("waypost_info", (_version(), self._node), 1.0)
        yield Sample("waypost_ledger_durable", (), float(self._ledger.durable))
        peers = self._hub.peers
        for index in range(self._workers):
            yield Sample("waypost_worker_up", (str(index),), float(index in peers))
        for peer in peers.values():
            yield from _of_worker(peer)
        for state in _STATES:
            yield Sample("waypost_queued", (state,), _sum(peers.values(), f"queued_{state}"))
        oldest = [peer.gauges.get("oldest_queued", 0.0) for peer in peers.values()]
        age = max((time.time() - at / 1e6 for at in oldest if at), default=0.0)
        yield Sample("waypost_oldest_queued_seconds", (), max(age, 0.0))
        yield Sample("waypost_connections", ("submission",), _sum(peers.values(), "connections"))
        yield Sample("waypost_hits_lost_total", (), _count(peers.values(), "hits_unrecorded"))
        withdrawn = _count(peers.values(), "hits_withdrawn")
        yield Sample("waypost_hits_withdrawn_total", (), withdrawn)
        yield Sample("waypost_tracking_hosts_failing", (), float(len(self._failing_hosts())))
        for one in self._brakes():
            labels = (one.rate.sending_domain, one.rate.kind)
            yield Sample("waypost_brake_level", labels, float(one.level))
            yield Sample("waypost_brake_rate", labels, one.rate.value)
        for kind in _CAME_BACK:
            total = _count(peers.values(), f"inbound_{kind}") + self._reports.get(kind, 0)
            yield Sample("waypost_inbound_mails_total", (kind,), total)
        yield from _counted(list(peers.values()))


def _counted(peers: list[Peer]) -> Iterator[Sample]:
    """Give the counters of the workers."""
    for policy, word in _TLS_POLICIES.items():
        for result in _TLS_RESULTS:
            total = _count(peers, f"tls_{word}_{result}")
            yield Sample("waypost_tls_sessions_total", (policy, result), total)
    for kind, word in UNRECORDED:
        total = _count(peers, f"tracking_{kind}_{word}")
        yield Sample("waypost_tracking_requests_total", (kind, word), total)
    for reason in _named(peers, SKIPPED):
        total = _count(peers, SKIPPED + reason)
        yield Sample("waypost_rewrite_skipped_total", (reason,), total)
    for limit in LIMITS:
        yield Sample("waypost_limits_total", (limit,), _count(peers, f"limit_{limit}"))
    for cause in CAUSES:
        yield Sample("waypost_log_errors_total", ("control", cause), float(errors[cause]))
        for peer in peers:
            found = _count([peer], f"log_errors_{cause}")
            yield Sample("waypost_log_errors_total", (f"worker-{peer.worker}", cause), found)
    for result in _SUBMITTED:
        total = _count(peers, f"submissions_{result}")
        yield Sample("waypost_submissions_total", (result,), total)


def _of_worker(peer: Peer) -> Iterator[Sample]:
    worker = (str(peer.worker),)
    yield Sample("waypost_outbox_bytes", worker, peer.gauges.get("outbox_bytes", 0.0))
    until = peer.gauges.get("facts_until", 0.0)
    lag = time.time() - until / 1e6 if until else 0.0
    yield Sample("waypost_outbox_lag_seconds", worker, max(lag, 0.0))
    for name in ("descriptors", "tasks", "lag_seconds"):
        yield Sample(f"waypost_worker_{name}", worker, peer.gauges.get(name, 0.0))
    yield Sample("waypost_worker_peak_bytes", worker, peer.gauges.get("max_rss_bytes", 0.0))
    slowest = peer.gauges.get("spool_commit_seconds", 0.0)
    yield Sample("waypost_spool_commit_seconds", worker, slowest)


def _sum(peers: Iterable[Peer], name: str) -> float:
    return sum(peer.gauges.get(name, 0.0) for peer in peers)


def _count(peers: Iterable[Peer], name: str) -> float:
    return float(sum(peer.counters.get(name, 0) for peer in peers))


def _named(peers: Iterable[Peer], prefix: str) -> list[str]:
    """Give what follows the prefix in the names of counters; the workers' own list of reasons."""
    names = {name for peer in peers for name in peer.counters if name.startswith(prefix)}
    return sorted(name.removeprefix(prefix) for name in names)


def _version() -> str:
    try:
        return version("waypost")
    except PackageNotFoundError:  # run from a checkout
        return "checkout"
