"""A lane: one caller that sends mail after mail to one route, over one connection at a time.

Guarantees that each job whose mail was made gets exactly one `Outcome`; that a mail which the
server has not looked at is moved to a fresh connection without anybody noticing (a server may close
an idle connection at any time); that the hosts of the route are tried in order, a bounded number of
them per mail.

Mails overlap: while one waits for the answer to its final dot, the next is made and its envelope
sent. No task and no timer is started per mail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from relay.delivery.attempt import is_final, of_giving_up, of_no_session, of_transaction
from relay.delivery.connection import Connection
from relay.delivery.outgoing import Classify, Outcome, Outgoing, Problem, Stage, Verdict
from relay.delivery.pool import Pool
from relay.delivery.route import Hosts, NoHostsError, Route, Target
from relay.delivery.session import Opener, SessionError
from relay.delivery.transaction import Failure, Transaction

_MAX_HOSTS = 5  # hosts tried per mail and attempt
_MAX_MOVES = 2  # fresh connections for a mail that no server has looked at
_USED_UP = 452  # "too many": of the session, where mails went through it before


class Job(Protocol):
    """One delivery that is due."""

    @property
    def delivery(self) -> int:
        """Give the delivery's id."""
        ...

    async def make(self) -> Outgoing | None:
        """Make the mail, now that a connection waits for it; None if it must not be sent any more.

        After None, `done` is not called. What is raised here ends the lane.
        """
        ...

    def done(self, outcome: Outcome) -> None:
        """Take the outcome; must neither block nor raise."""
        ...


Take = Callable[[], Awaitable[Job | None]]
"""Gives the next due job; None ends the lane. Better None than a long wait: the lane holds a
connection.
"""


class _Work:
    """A job in this lane."""

    __slots__ = ("began", "job", "mail", "moves", "tried")

    def __init__(self, job: Job, now: float) -> None:
        self.job = job
        self.mail: Outgoing | None = None
        self.began = now
        self.moves = 0
        self.tried: set[tuple[str, int]] = set()


class Lane:
    """See the module. Not for use by two callers at once."""

    def __init__(
        self,
        route: Route,
        hosts: Hosts,
        opener: Opener,
        pool: Pool,
        classify: Classify | None = None,
        messages: Callable[[str], int] | None = None,
    ) -> None:
        """Send to `route`; `messages` gives the messages a provider wants per connection, 0 for no
        wish.
        """
        self.route = route
        self._hosts = hosts
        self._opener = opener
        self._pool = pool
        self._classify = classify
        self._messages = messages
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._targets: Sequence[Target] = ()
        self._lock = asyncio.Lock()  # one job at a time looks for a connection
        self._moving: set[asyncio.Task[None]] = set()
        self._open = 0  # jobs without outcome
        self._quiet: asyncio.Future[None] | None = None
        self._stopping = False

    # -- the door ----------------------------------------------------------------------------

    async def run(self, take: Take) -> None:
        """Send what `take` gives until it gives None; returns when every outcome was told.

        Cancelled, it breaks off: what is on its way gets its outcome at once.
        """
        try:
            try:
                await self._send_all(take)
            finally:  # what is on its way ends in good order, also when `take` or `make` raised
                while self._open and not self._stopping:
                    self._quiet = self._loop.create_future()
                    await self._quiet
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self.release()

    async def _send_all(self, take: Take) -> None:
        try:
            while True:
                connection = self._connection
                if connection is not None and not connection.engine.has_room:
                    await connection.room()
                job = await take()
                if job is None:
                    return
                self._open += 1
                await self._start(_Work(job, self._loop.time()))
        except asyncio.CancelledError:
            self.abort()
            raise

    def release(self) -> None:
        """Give the connection to the pool."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._pool.give(self.route, connection)

    def abort(self) -> None:
        """Break off for good; what is on its way gets its outcome now."""
        self._stopping = True
        for task in tuple(self._moving):
            task.cancel()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.abort()

    # -- one job -----------------------------------------------------------------------------

    async def _start(self, work: _Work) -> None:
        """Put a job on a connection, or tell that there is none."""
        try:
            connection = self._connection
            if connection is None or work.tried or not self._is_fit(connection):
                connection = await self._ready_for(work)
            if work.mail is None:
                work.mail = await work.job.make()
                if work.mail is None:
                    self._one_less()
                    return
            while not connection.engine.has_room:  # taken or closed while the mail was made
                connection = await self._ready_for(work)
            connection.send(work.mail, partial(self._over, work, connection))
        except (SessionError, NoHostsError) as error:
            took_ms = int((self._loop.time() - work.began) * 1000)
            self._tell(work, of_no_session(work.job.delivery, error, self._classify, took_ms))
        except asyncio.CancelledError:
            self._tell(work, of_giving_up(work.job.delivery))
            raise
        except BaseException:  # raised by `make`, which tells its own story
            self._one_less()
            raise

    def _over(self, work: _Work, connection: Connection, transaction: Transaction) -> None:
        """Take the end of a transaction: tell it, or go on elsewhere."""
        if transaction.problem is None:
            self._tell(work, of_transaction(transaction, connection, self._classify))
            return
        unseen = transaction.problem is Problem.LOST and not transaction.touched
        unjudged = (unseen and not transaction.ambiguous) or _is_used_up(transaction, connection)
        if unjudged and work.moves < _MAX_MOVES and not self._stopping:
            work.moves += 1
            self._go_on(work)
            return
        work.tried.add(connection.target.endpoint)
        self._targets = connection.siblings
        more = len(work.tried) < _MAX_HOSTS and any(
            target.endpoint not in work.tried for target in self._targets
        )
        more = more and not self._stopping
        outcome = of_transaction(transaction, connection, self._classify, more_hosts=more)
        if outcome.verdict is Verdict.NEXT_HOST:
            self._go_on(work)
        else:
            self._tell(work, outcome)

    def _go_on(self, work: _Work) -> None:
        """Start a job again on another connection; rare, so it may cost a task."""
        task = self._loop.create_task(self._start(work))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    def _tell(self, work: _Work, outcome: Outcome) -> None:
        self._one_less()
        work.job.done(outcome)

    def _one_less(self) -> None:
        self._open -= 1
        if self._quiet is not None and not self._open and not self._quiet.done():
            self._quiet.set_result(None)

    # -- connections -------------------------------------------------------------------------

    def _is_fit(self, connection: Connection) -> bool:
        """Tell whether a connection can be used now, or after a short wait for room."""
        return connection.is_open and not self._pool.is_spent(connection)

    async def _ready_for(self, work: _Work) -> Connection:
        """Give a connection with room for this job; raises SessionError or NoHostsError."""
        while True:
            async with self._lock:
                if self._stopping:
                    text = "the attempt was broken off here before anything was sent"
                    raise NoHostsError("4.3.2", text, permanent=False)
                connection = await self._connected(work.tried)
            if await connection.room():
                return connection
            if work.moves >= _MAX_MOVES:  # it opens and closes, again and again
                lost = Failure(Stage.MAIL, Problem.LOST, "the server closed the idle connection")
                failure = connection.failure or lost
                raise SessionError(connection.target, failure, connection.engine.log)
            work.moves += 1

    async def _connected(self, tried: set[tuple[str, int]]) -> Connection:
        connection = self._connection
        if connection is not None:
            if self._is_fit(connection) and connection.target.endpoint not in tried:
                return connection
            await connection.idle()
            connection.close()
            self._connection = None
        pooled = None if tried else self._pool.take(self.route)
        self._connection = pooled or await self._opened(tried)
        return self._connection

    async def _opened(self, tried: set[tuple[str, int]]) -> Connection:
        """Open a session with the first host that can be had; adds those that cannot to `tried`."""
        if not tried or not self._targets:
            self._targets = await self._hosts.targets(self.route)
        failed: list[SessionError] = []
        left = [target for target in self._targets if target.endpoint not in tried]
        left.sort(key=self._opener.unreachable.knows)  # stable: the order holds otherwise
        for target in left[: max(_MAX_HOSTS - len(tried), 1)]:
            try:
                connection = await self._opener.open(target, self.route.destination)
            except SessionError as error:
                tried.add(target.endpoint)
                failed.append(error)
                continue
            connection.siblings = self._targets
            if self._messages is not None:
                connection.messages = self._messages(target.provider)
            return connection
        if not failed:
            text = f"{self.route.destination} has no further host to try"
            raise NoHostsError("4.4.1", text, permanent=False)
        # A host that says "no mail here, ever" speaks for the destination only if all of them do.
        hopeful = [error for error in failed if not is_final(error.failure)]
        raise (hopeful or failed)[-1]


def _is_used_up(transaction: Transaction, connection: Connection) -> bool:
    """Tell whether MAIL was refused because the session had its share of mails; it takes no more.

    Servers say so with 452 (OpenSMTPD after 100), and would say it to each further mail.
    """
    reply = transaction.reply
    refused = transaction.problem is Problem.REFUSED and transaction.stage is Stage.MAIL
    if not refused or reply is None or reply.code != _USED_UP or not connection.engine.taken:
        return False
    connection.messages = 1  # spent
    return True
