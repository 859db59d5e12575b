"""A child whose supervisor is gone ends even if it hangs: nobody keeps ports of a dead
installation.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

HANGING = """
import asyncio, socket, sys, time
from relay.process import life
life.ORPHAN_SECONDS = 1
async def main():
    child = life.Child(socket.socket(fileno=int(sys.argv[1])))
    child.watch()
    child.ready()
    await child.stopping.wait()
    if sys.argv[2] == "hang":
        time.sleep(60)
asyncio.run(main())
"""


def ended(how: str) -> int:
    """Start a child, let its supervisor's end go, and give its exit status."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-c", HANGING, str(theirs.fileno()), how],
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            assert ours.recv(64) == b"ready\n"
            ours.close()
            return child.wait(30)
        finally:
            child.kill()
            child.wait()


def test_an_orphan_ends_by_itself() -> None:
    assert ended("quietly") == 0


def test_an_orphan_that_hangs_is_ended() -> None:
    assert ended("hang") == -signal.SIGALRM
