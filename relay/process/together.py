"""Jobs that run beside the body of a process, and end it when one of them breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine


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
