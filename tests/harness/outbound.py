"""What tests of outbound mail share: mails, routes, due jobs and transports with short limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from relay.delivery.deadlines import Deadlines
from relay.delivery.outgoing import Outcome, Outgoing, Stage
from relay.delivery.route import Route, Smarthost, Smarthosts, TlsLevel
from relay.delivery.session import Opener
from relay.delivery.transport import Transport
from tests.harness.scripted_mx import ScriptedMx

CONTENT = b"Subject: hi\r\nFrom: <news@shop.test>\r\n\r\nhello\r\n"


@dataclass
class Jobs:
    """Due deliveries for a lane, and what became of them."""

    mails: list[Outgoing]
    outcomes: list[Outcome] = field(default_factory=list)
    taken: int = 0

    async def take(self) -> OneJob | None:
        """Give the next, None at the end."""
        if self.taken == len(self.mails):
            return None
        self.taken += 1
        return OneJob(self, self.mails[self.taken - 1])


@dataclass
class OneJob:
    """One of them."""

    jobs: Jobs
    mail: Outgoing

    @property
    def delivery(self) -> int:
        """Give its id."""
        return self.mail.delivery

    async def make(self) -> Outgoing | None:
        """Give the mail."""
        return self.mail

    def done(self, outcome: Outcome) -> None:
        """Note the outcome."""
        self.jobs.outcomes.append(outcome)


MakeTransport = Callable[..., Transport]


def transport_for_tests(**options: object) -> Transport:
    """Make a transport; `seconds` limits every stage, or those it names; options of `Opener` and
    `Transport` go to them.
    """
    seconds = options.pop("seconds", None)
    opener_options: dict[str, object] = {"name": "relay.test", "deadlines": Deadlines(tick=0.02)}
    if seconds is not None:
        limited = seconds if isinstance(seconds, dict) else dict.fromkeys(Stage, seconds)
        opener_options["timeouts"] = dict.fromkeys(Stage, 60.0) | limited
    for key in ("contexts", "counts", "strict_eightbit", "handshake_seconds", "connect_seconds"):
        if key in options:
            opener_options[key] = options.pop(key)
    hosts = options.pop("hosts", None) or Smarthosts()
    opener = Opener(**opener_options)  # type: ignore[arg-type]
    return Transport(hosts, opener, **options)  # type: ignore[arg-type]


def route_to(mx: ScriptedMx, tls: TlsLevel = TlsLevel.OPPORTUNISTIC, **smarthost: object) -> Route:
    """Give the route to a scripted server."""
    host = str(smarthost.pop("host", mx.host))
    smart = Smarthost(host=host, port=mx.port, **smarthost)  # type: ignore[arg-type]
    return Route(destination="inbox.test", smarthost=smart, tls=tls)


def mail_to(
    recipient: str = "ann@inbox.test", content: bytes = CONTENT, delivery: int = 1, **rest: object
) -> Outgoing:
    """Give a mail."""
    return Outgoing(
        delivery=delivery,
        return_path=b"b+token@bounce.test",
        recipient=recipient.encode(),
        content=content,
        **rest,  # type: ignore[arg-type]
    )
