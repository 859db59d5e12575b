"""Jobs that run beside the body of a process, and end it when one of them breaks; a job that is
done again and again bears that its storage is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

from relay.errors import StorageError

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running(*jobs: Callable[[], Coroutine[object, object, None]]) -> AsyncIterator[None]:
    """Run jobs beside the body; one that breaks ends the process, so that it is started anew."""
    tasks = [asyncio.create_task(job()) for job in jobs]
    body = asyncio.current_task()

    def broke(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and body is not None:
            body.cancel()

    for task in tasks:
        task.add_done_callback(broke)
    try:
        yield
    except asyncio.CancelledError:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def every(seconds: float, work: Callable[[], Awaitable[object]], what: str) -> None:
    """Do something again and again, with so many seconds in between.

    A StorageError is tried again at the next turn and logged once until a turn succeeds; anything
    else breaks the job.
    """
    failing = False
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except StorageError as problem:
            if not failing:
                _log.warning("%s failed; it is tried again: %s", what, problem)
            failing = True
        else:
            if failing:
                _log.info("%s works again", what)
            failing = False
