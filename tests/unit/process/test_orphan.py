"""A child whose supervisor is gone ends, also if it hangs, is starting, or was not heard: nobody
keeps ports of a dead installation.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

HANGING = """
import asyncio, socket, sys, time, uvloop
from relay.process import life
life.ORPHAN_SECONDS = 1
async def main():
    child = life.Child(socket.socket(fileno=int(sys.argv[1])))
    child.watch()
    child.ready()
    if sys.argv[2] == "hang at once":
        time.sleep(60)
    while sys.argv[2] == "start":
        child.go_on()
        await asyncio.sleep(0.01)
    await child.stopping.wait()
    if sys.argv[2] == "hang":
        time.sleep(60)
try:
    uvloop.run(main())
except life.StoppedEarlyError:
    sys.exit(7)
"""


def ended(how: str, *, heard: bool = True) -> int:
    """Start a child, let its supervisor's end go (`heard`: after it read `ready`), and give its
    exit status.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-c", HANGING, str(theirs.fileno()), how],
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            assert ours.recv(64, 0 if heard else socket.MSG_PEEK) == b"ready\n"
            ours.close()
            return child.wait(30)
        finally:
            child.kill()
            child.wait()


def test_an_orphan_ends_by_itself() -> None:
    assert ended("quietly") == 0


def test_an_orphan_ends_whose_supervisor_died_before_it_heard_ready() -> None:
    assert ended("quietly", heard=False) == 0


def test_an_orphan_does_not_go_on_starting() -> None:
    assert ended("start", heard=False) == 7


@pytest.mark.parametrize("how", ["hang", "hang at once"])
def test_an_orphan_that_hangs_is_ended(how: str) -> None:
    assert ended(how) == -signal.SIGALRM
