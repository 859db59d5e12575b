"""Plays a recipient: reads the mail that arrived and does what its part says, through the real
doors.

Guarantees: what was done is returned as records, one for each thing done, with the answer of the
door; a door that fails makes a record with `done` false, never an exception. Delays, and what the
recipient's mail program says of itself, are parameters. It leaves to its caller when to act and
where the records go.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from relay.sandbox.dialogue import Dialogue, Said
from relay.sandbox.part import Part
from relay.sandbox.reading import Reading, read
from relay.sandbox.returns import Returned, automatic_reply, complaint, delivery_report
from relay.sandbox.session import Arrival
from relay.sandbox.web import Fetched, Web

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One thing a recipient did. `what` is a kind of event: opened, clicked, unsubscribed,
    complained, bounced, autoreplied; `url` and `location` belong to web requests, `reply` is the
    door's answer.
    """

    what: str
    recipient: str
    message_id: str
    at: float
    done: bool
    url: str = ""
    location: str = ""
    status: str = ""  # of a bounce, such as "5.1.1"
    reply: str = ""
    user_agent: str = ""

    def line(self) -> str:
        """Give the record as a line of JSON."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a recipient goes about it: seconds before each act, links followed, what its browser
    says.
    """

    open_after: float = 0.2
    click_after: float = 0.2
    return_after: float = 0.2
    links: int = 2
    headers: dict[str, str] = field(default_factory=lambda: {"User-Agent": BROWSER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The doors of the relay under play: where mail comes back, and the web."""

    inbound: tuple[str, int]
    web: Web
    hostname: str = "mx.sandbox.test"
    seconds: float = 30.0


class Actor:
    """Plays parts; stateless but for its doors, so one serves all recipients."""

    def __init__(
        self,
        doors: Doors,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the doors, a clock in seconds since the epoch, and a way to wait."""
        self._doors = doors
        self._clock = clock
        self._sleep = sleep

    async def act(
        self, arrival: Arrival, recipient: bytes, part: Part, manner: Manner | None = None
    ) -> list[Played]:
        """Do what the part says about a message that arrived; gives what was done."""
        scene = _Scene(
            arrival=arrival,
            recipient=recipient.decode("utf-8", "replace"),
            reading=read(arrival.content),
            manner=manner or Manner(),
        )
        match part:
            case Part.OPEN:
                return await self._open(scene)
            case Part.CLICK:
                return [*await self._open(scene), *await self._click(scene)]
            case Part.UNSUBSCRIBE:
                return [await self._unsubscribe(scene)]
            case Part.COMPLAIN:
                return [await self._complain(scene)]
            case Part.BOUNCE_LATER | Part.HARD_BOUNCE_LATER:
                return [await self._bounce(scene, "5.1.1", "550 5.1.1 No such user here")]
            case Part.SOFT_BOUNCE_LATER:
                return [await self._bounce(scene, "5.2.2", "552 5.2.2 Mailbox is full")]
            case Part.AUTOREPLY:
                return [await self._reply(scene)]
            case _:
                return []

    async def _open(self, scene: _Scene) -> list[Played]:
        """Load every picture that lies on the tracking host, as a mail program does."""
        pixels = [url for url in scene.reading.images if self._doors.web.knows(url)]
        played = []
        for url in pixels:
            await self._sleep(scene.manner.open_after)
            got = await self._doors.web.get(url, scene.manner.headers)
            played.append(self._from_web(scene, "opened", got, wanted=(200,)))
        return played

    async def _click(self, scene: _Scene) -> list[Played]:
        """Follow the first links that lie on the tracking host, each once."""
        links = [url for url in dict.fromkeys(scene.reading.links) if self._doors.web.knows(url)]
        played = []
        for url in links[: scene.manner.links]:
            await self._sleep(scene.manner.click_after)
            got = await self._doors.web.get(url, scene.manner.headers)
            played.append(self._from_web(scene, "clicked", got, wanted=(301, 302, 303, 307, 308)))
        return played

    async def _unsubscribe(self, scene: _Scene) -> Played:
        await self._sleep(scene.manner.click_after)
        form = b"List-Unsubscribe=One-Click"
        got = await self._doors.web.post(scene.reading.unsubscribe, form, scene.manner.headers)
        return self._from_web(scene, "unsubscribed", got, wanted=(200, 202, 204))

    async def _complain(self, scene: _Scene) -> Played:
        await self._sleep(scene.manner.return_after)
        about = self._about(scene)
        to = scene.reading.feedback or about.sender
        said = await self._mail(f"feedback@{self._doors.hostname}", to, complaint(about, to=to))
        return self._from_mail(scene, "complained", said)

    async def _bounce(self, scene: _Scene, status: str, diagnostic: str) -> Played:
        await self._sleep(scene.manner.return_after)
        about = self._about(scene)
        report = delivery_report(about, status=status, diagnostic=diagnostic)
        said = await self._mail("", about.sender, report)
        return self._from_mail(scene, "bounced", said, status)

    async def _reply(self, scene: _Scene) -> Played:
        await self._sleep(scene.manner.return_after)
        about = self._about(scene)
        reading = scene.reading
        mail = automatic_reply(about, message_id=reading.message_id, subject=reading.subject)
        return self._from_mail(scene, "autoreplied", await self._mail("", about.sender, mail))

    def _about(self, scene: _Scene) -> Returned:
        return Returned(
            sender=scene.arrival.sender.decode("utf-8", "replace"),
            recipient=scene.recipient,
            content=scene.arrival.content,
            at=scene.arrival.at,
            host=self._doors.hostname,
        )

    async def _mail(self, sender: str, to: str, content: bytes) -> Said:
        """Hand a mail to the inbound door; code 0 when the door did not answer. The null sender
        gets no mail.
        """
        if not to:
            return Said(0, "there is no return path to write to")
        doors = self._doors
        try:
            async with Dialogue(
                *doors.inbound, name=doors.hostname, seconds=doors.seconds
            ) as dialogue:
                return await dialogue.send(sender.encode(), (to.encode(),), content)
        except (OSError, EOFError, TimeoutError) as problem:
            return Said(0, f"{type(problem).__name__}: {problem}")

    def _from_web(
        self, scene: _Scene, what: str, got: Fetched, *, wanted: tuple[int, ...]
    ) -> Played:
        return Played(
            what=what,
            recipient=scene.recipient,
            message_id=scene.reading.message_id,
            at=self._clock(),
            done=got.status in wanted,
            url=got.url,
            location=got.location,
            reply=got.problem or str(got.status),
            user_agent=scene.manner.headers.get("User-Agent", ""),
        )

    def _from_mail(self, scene: _Scene, what: str, said: Said, status: str = "") -> Played:
        return Played(
            what=what,
            recipient=scene.recipient,
            message_id=scene.reading.message_id,
            at=self._clock(),
            done=200 <= said.code < 300,
            status=status,
            reply=str(said),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """One act: the mail, who plays, what is in it, and how."""

    arrival: Arrival
    recipient: str
    reading: Reading
    manner: Manner
