"""An application that submits mail over several connections and keeps a ledger of what was
promised to it.

Guarantees: the ledger has the try before the final dot leaves and the answer before the next mail
is begun. A message whose connection died before its final dot is tried again on a new connection;
after it, never: it stays indeterminate, so that the driver itself sends nothing twice.
Reconnecting is bounded by `patience` seconds without any connection.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from relay.sandbox.dialogue import Dialogue
from tests.harness.ledger_file import LedgerFile
from tests.harness.mails import Mail

BROKEN = (OSError, EOFError, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where and how to submit; with `starttls` the connection begins in plain."""

    host: str
    port: int
    login: str = ""
    password: str = ""
    tls: ssl.SSLContext | None = None
    starttls: bool = False
    seconds: float = 30.0


@dataclass
class Course:
    """How a run went, so far."""

    acknowledged: int = 0
    refused: int = 0
    indeterminate: int = 0
    reconnected: int = 0
    replies: dict[str, int] = field(default_factory=dict)  # of refusals


class Driver:
    """Submits; `progress` is called with the course after every answer."""

    def __init__(
        self,
        door: Door,
        ledger: LedgerFile,
        *,
        patience: float = 60.0,
        progress: Callable[[Course], None] = lambda _course: None,
    ) -> None:
        """Prepare; `run` submits."""
        self.course = Course()
        self._door = door
        self._ledger = ledger
        self._patience = patience
        self._progress = progress
        self._connected_at = 0.0

    async def run(self, mails: Iterable[Mail], connections: int = 4) -> Course:
        """Submit all of it; raises OutOfPatienceError when the server is away for longer than the
        patience.
        """
        waiting = iter(mails)
        self._connected_at = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(self._client(waiting))
        return self.course

    async def _client(self, waiting: Iterator[Mail]) -> None:
        mail = next(waiting, None)
        while mail is not None:
            try:
                async with await self._connect() as dialogue:
                    while mail is not None:
                        if await self._submit(dialogue, mail):
                            mail = next(waiting, None)
                        else:
                            break  # 421: this connection is over
            except _GoneError as gone:
                self.course.indeterminate += gone.indeterminate
                if gone.indeterminate:
                    mail = next(waiting, None)
                self.course.reconnected += 1
            except BROKEN:
                self.course.reconnected += 1

    async def _connect(self) -> _Login:
        """Wait until the server takes a connection again, at most as long as the patience lasts."""
        while True:
            login = _Login(self._door)
            try:
                await login.open()
            except BROKEN as problem:
                if time.monotonic() - self._connected_at > self._patience:
                    raise OutOfPatienceError(self._patience) from problem
                await asyncio.sleep(0.02)  # between tries, not to wait for anything
            else:
                self._connected_at = time.monotonic()
                return login

    async def _submit(self, dialogue: Dialogue, mail: Mail) -> bool:
        """Submit one message; False when the server says that it closes and the message was not
        tried.
        """
        dot_left = False
        try:
            for said in await dialogue.envelope(mail.sender, mail.recipients):
                if not said.good:
                    return await self._refused(dialogue, mail, str(said), said.code)
            said = await dialogue.say(b"DATA")
            if said.code != 354:
                return await self._refused(dialogue, mail, str(said), said.code)
            self._ledger.tried(mail)
            dot_left = True
            said = await dialogue.content(mail.content)
        except BROKEN as problem:
            raise _GoneError(indeterminate=dot_left) from problem
        if said.good:
            self._ledger.acknowledged(mail, str(said))
            self.course.acknowledged += 1
        else:
            self._note_refusal(mail, str(said))
        self._progress(self.course)
        self._connected_at = time.monotonic()
        return True

    async def _refused(self, dialogue: Dialogue, mail: Mail, reply: str, code: int) -> bool:
        if code == 421:
            return False
        self._note_refusal(mail, reply)
        self._progress(self.course)
        await dialogue.say(b"RSET")
        return True

    def _note_refusal(self, mail: Mail, reply: str) -> None:
        self._ledger.refused(mail, reply)
        self.course.refused += 1
        if len(self.course.replies) < 100:
            self.course.replies[reply] = self.course.replies.get(reply, 0) + 1


class OutOfPatienceError(Exception):
    """The server took no connection for longer than the driver waits."""

    def __init__(self, seconds: float) -> None:
        """Say how long."""
        super().__init__(f"no connection for {seconds} s")


class _GoneError(Exception):
    """The connection died; `indeterminate` tells whether the final dot may have left."""

    def __init__(self, *, indeterminate: bool) -> None:
        super().__init__("the connection died")
        self.indeterminate = indeterminate


class _Login:
    """A connection that is logged in; opened first, then used as an async context manager."""

    def __init__(self, door: Door) -> None:
        self._door = door
        context = None if door.starttls else door.tls
        self._dialogue = Dialogue(door.host, door.port, tls=context, seconds=door.seconds)

    async def open(self) -> None:
        """Connect and log in; raises ConnectionError when the login is refused."""
        door = self._door
        await self._dialogue.__aenter__()
        try:
            await self._enter(door)
        except BaseException as problem:
            await self._dialogue.__aexit__(type(problem), problem, None)
            raise

    async def _enter(self, door: Door) -> None:
        if door.starttls and door.tls is not None:
            await self._dialogue.starttls(door.tls)
        if door.login:
            said = await self._dialogue.login(door.login, door.password)
            if not said.good:
                raise ConnectionError(f"AUTH is answered by {said}")

    async def __aenter__(self) -> Dialogue:
        return self._dialogue

    async def __aexit__(self, *ended: object) -> None:
        problem = ended[1] if isinstance(ended[1], BaseException) else None
        await self._dialogue.__aexit__(type(problem) if problem else None, problem, None)
