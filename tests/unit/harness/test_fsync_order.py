"""The order checker flags what it must, on written traces and on real ones of a small server."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from relay.sandbox.dialogue import Dialogue
from tests.harness.fsync_order import TRACE, judge
from tests.harness.programs import need_program

SOCK = "7<socket:[99]>"
READ = f'10 read({SOCK}, "Subject: x\\r\\n\\r\\nhi\\r\\n.\\r\\n", 65536) = 23'
REPLY = f'10 write({SOCK}, "250 2.0.0 Kept\\r\\n", 16) = 16'
SYNC = "11 fdatasync(9</v/spool/0/spool.sqlite-wal>) = 0"
SEGMENT = "11 fdatasync(8</v/spool/0/segments/1.seg>) = 0"
NEEDS = (".sqlite-wal", ".seg")


@pytest.mark.parametrize(
    ("lines", "early"),
    [
        ([READ, SEGMENT, SYNC, REPLY], 0),
        ([READ, SYNC, REPLY], 1),  # the body was not synced
        ([READ, REPLY], 1),
        ([SEGMENT, SYNC, READ, REPLY], 1),  # before the mail was read
        ([READ, SEGMENT, SYNC.replace("= 0", "= -1 EIO (Input/output error)"), REPLY], 1),
        ([READ, SEGMENT, SYNC + " (INJECTED)", REPLY], 1),
        ([READ, SEGMENT, SYNC.replace("/spool/", "/other/").replace("wal", "x"), REPLY], 1),
        (["11 fdatasync(9</v/spool.sqlite-wal> <unfinished ...>", READ, SEGMENT,
          "11 <... fdatasync resumed>) = 0", REPLY], 1),  # begun before the mail was read
        ([READ, SEGMENT, "11 fdatasync(9</v/spool.sqlite-wal> <unfinished ...>",
          "10 epoll_wait(3<anon_inode:[eventpoll]>, [], 1024, 0) = 0",
          "11 <... fdatasync resumed>) = 0", REPLY], 0),
        ([READ, SEGMENT, "11 fdatasync(9</v/spool.sqlite-wal> <unfinished ...>",
          REPLY, "11 <... fdatasync resumed>) = 0"], 1),
        ([READ, SEGMENT, SYNC, f'10 write({SOCK}, "250 2.0.0 Kept\\r\\n", 16 <unfinished ...>',
          "10 <... write resumed>) = 16"], 0),
    ],
)  # fmt: skip
def test_written_traces(lines: list[str], early: int) -> None:
    verdict = judge(lines, NEEDS)
    assert verdict.acknowledged == 1
    assert len(verdict.early) == early


def test_a_dot_in_two_pieces_and_other_replies() -> None:
    lines = [
        f'10 write({SOCK}, "250 2.1.0 Sender\\r\\n250 2.1.5 Rcpt\\r\\n354 Go\\r\\n", 40) = 40',
        f'10 read({SOCK}, "hi\\r\\n.", 65536) = 5',
        f'10 read({SOCK}, "\\r\\n", 65536) = 2',
        SEGMENT,
        SYNC,
        REPLY,
        f'10 read({SOCK}, "QUIT\\r\\n", 65536) = 6',
    ]
    assert judge(lines, NEEDS) == judge([READ, SEGMENT, SYNC, REPLY], NEEDS)


SERVER = """
import os, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
peer, _ = listener.accept()
def hear(end):
    got = b""
    while not got.endswith(end):
        got += peer.recv(65536)
    return got
peer.sendall(b"220 hi\\r\\n"); hear(b"\\r\\n"); peer.sendall(b"250 hi\\r\\n")
while True:
    if hear(b"\\r\\n").startswith(b"QUIT"):
        peer.sendall(b"221 2.0.0 bye\\r\\n"); break
    peer.sendall(b"250 2.1.0 a\\r\\n250 2.1.5 b\\r\\n"); hear(b"DATA\\r\\n")
    peer.sendall(b"354 go\\r\\n")
    os.write(log, hear(b"\\r\\n.\\r\\n"))
    if sys.argv[3] == "sync":
        os.fdatasync(log)
    peer.sendall(b"250 2.0.0 kept\\r\\n")
"""


@pytest.mark.parametrize(
    ("how", "inject", "early"), [("sync", "", 0), ("late", "", 5), ("sync", "fake", 5)]
)
async def test_real_traces(tmp_path: Path, how: str, inject: str, early: int) -> None:
    strace = need_program("strace")
    trace = tmp_path / "trace"
    faked = ["-e", "inject=fdatasync:retval=0"] if inject else []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [
            *(strace, "-f", "-y", "-s", "65536", "-o", str(trace), "-e", TRACE, *faked),
            *(sys.executable, "-c", SERVER, str(listener.fileno()), str(tmp_path / "log"), how),
        ]
        server = await asyncio.create_subprocess_exec(*command, pass_fds=[listener.fileno()])
        async with asyncio.timeout(30), Dialogue(*listener.getsockname()) as client:
            for _ in range(5):
                said = await client.send(b"a@x.test", (b"b@y.test",), b"Subject: x\r\n\r\nhi\r\n")
                assert said.code == 250
        async with asyncio.timeout(30):
            assert await server.wait() == 0
    verdict = judge(trace.read_text().splitlines(), ("/log",))
    assert (verdict.acknowledged, len(verdict.early)) == (5, early)
