"""Cost of taking one message in: CPU of the serving process, from the socket to the handler.

A client in a process of its own holds some connections and sends pipelined transactions as fast as
they are answered; the handler takes the message and does nothing. Run it with

    python bench/stage_ingress.py [--messages 4000] [--connections 20] [--tls]

and read milliseconds of CPU per message. The engine alone is measured beside it, without sockets,
and aiosmtpd's own session in the same run, because a busy machine makes all figures larger.
"""

import argparse
import asyncio
import logging
import multiprocessing
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path

import uvloop
from aiosmtpd.smtp import SMTP

from relay.submission import tls
from relay.submission.door import Door
from relay.submission.engine import Engine
from relay.submission.envelope import MailEnvelope, MailSession
from relay.submission.events import ContentWanted, MessageGiven
from relay.submission.limits import Gate, GateLimits
from relay.submission.listener import Listener
from relay.submission.options import SessionLimits, SessionOptions
from relay.submission.session import SubmissionSession
from relay.submission.verbs import VERBS

ENVELOPE = b"MAIL FROM:<news@shop.test> SIZE=%d\r\nRCPT TO:<ann.%d@inbox.test>\r\nDATA\r\n"
LINE = b"The quick brown fox jumps over the lazy dog, and over the others too. \r\n"
OPTIONS = SessionOptions(hostname="bench.test", auth_required=False)
LIMITS = SessionLimits(messages=1_000_000)


class Sink:
    """Takes messages."""

    def __init__(self) -> None:
        """Nothing is taken yet."""
        self.taken = 0
        self.begun = asyncio.Event()

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SubmissionSession, _session: MailSession, _envelope: MailEnvelope
    ) -> str:
        """Count one."""
        self.taken += 1
        self.begun.set()
        return "250 2.0.0 Taken"


def message(size: int) -> bytes:
    """A mail of about `size` octets with a few dotted lines, ready for the wire."""
    lines = [b"From: news@shop.test\r\nTo: ann@inbox.test\r\nSubject: News\r\n\r\n", b"..dot\r\n"]
    lines += [LINE] * ((size - 80) // len(LINE))
    return b"".join(lines) + b".\r\n"


def read_replies(connection: socket.socket, buffer: bytearray, count: int) -> None:
    """Read until `count` more reply lines came."""
    while buffer.count(b"\n") < count:
        data = connection.recv(65536)
        if not data:
            raise ConnectionError(bytes(buffer).decode())
        buffer += data
    buffer.clear()


def talk(port: int, messages: int, body: bytes, trusted: str) -> None:
    """Send messages over one connection."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if trusted:
        context = ssl.create_default_context(cafile=trusted)
        connection = context.wrap_socket(connection, server_hostname="localhost")
    buffer = bytearray()
    read_replies(connection, buffer, 1)
    connection.sendall(b"EHLO client.test\r\n")
    while b"250 HELP" not in buffer:
        buffer += connection.recv(65536)
    buffer.clear()
    for number in range(messages):
        connection.sendall(ENVELOPE % (len(body), number))
        read_replies(connection, buffer, 3)
        connection.sendall(body)
        read_replies(connection, buffer, 1)
    connection.close()


def client(port: int, messages: int, connections: int, body: bytes, trusted: str) -> None:
    """Send from several connections at a time."""
    threads = [
        threading.Thread(target=talk, args=(port, messages // connections, body, trusted))
        for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def serve_stock(size: int, messages: int, connections: int) -> float:
    """The same with aiosmtpd's own session, in plain text."""
    loop = asyncio.get_running_loop()
    sink = Sink()
    server = await loop.create_server(lambda: SMTP(sink, hostname="bench.test"), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        process = multiprocessing.get_context("spawn").Process(
            target=client, args=(port, messages, connections, message(size), "")
        )
        process.start()
        await sink.begun.wait()
        began, first = time.process_time(), sink.taken
        await loop.run_in_executor(None, process.join)
        spent = time.process_time() - began
    return spent / (sink.taken - first) * 1000


async def serve(size: int, messages: int, connections: int, *, secure: bool) -> float:
    """Milliseconds of CPU per message."""
    loop = asyncio.get_running_loop()
    sink = Sink()
    with tempfile.TemporaryDirectory() as directory, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        ours = tls.load_or_create(Path(directory), "localhost") if secure else None
        door = Door(sink, options=OPTIONS, limits=LIMITS, gate=Gate(GateLimits()))
        listener = Listener(listening, door, implicit_tls=ours.context if ours else None)
        listener.start()
        process = multiprocessing.get_context("spawn").Process(
            target=client,
            args=(
                listener.port,
                messages,
                connections,
                message(size),
                str(ours.certificate) if ours else "",
            ),
        )
        process.start()
        await sink.begun.wait()
        began, first = time.process_time(), sink.taken
        await loop.run_in_executor(None, process.join)
        spent = time.process_time() - began
        await listener.stop()
        if sink.taken != messages // connections * connections:
            raise SystemExit(f"only {sink.taken} of {messages} messages came")
        return spent / (sink.taken - first) * 1000


def engine_alone(size: int, messages: int) -> float:
    """Milliseconds of CPU per message without sockets, tasks and handlers."""
    engine = Engine(OPTIONS, LIMITS, VERBS)
    body = message(size)
    engine.feed(b"EHLO client.test\r\n")
    engine.next_event()
    engine.take_output()
    began = time.process_time()
    for number in range(messages):
        for data in (ENVELOPE % (len(body), number), body):
            engine.feed(data)
            while (event := engine.next_event()) is not None:
                content_wanted = type(event) is ContentWanted
                engine.answer(b"354 Go on" if content_wanted else b"250 2.0.0 Fine")
                if type(event) is MessageGiven and not event.content:
                    raise SystemExit("a message came empty")
            engine.take_output()
    return (time.process_time() - began) / messages * 1000


def pace() -> float:
    """Nanoseconds of a step of an empty loop: how fast this machine is at this moment."""
    began = time.process_time()
    for _ in range(200_000):
        pass
    return (time.process_time() - began) / 200_000 * 1e9


def main() -> None:
    """Print the table; of several runs the best, because others may use the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tls", action="store_true")
    given = parser.parse_args()
    logging.disable()
    print("ms of CPU per message; pace: ns for a step of an empty loop")
    print("size      engine   session  aiosmtpd  pace")
    for size in (4_096, 40_960):
        alone = min(engine_alone(size, given.messages // 20) for _ in range(20 * given.runs))
        cpu = min(
            uvloop.run(serve(size, given.messages, given.connections, secure=given.tls))
            for _ in range(given.runs)
        )
        stock = uvloop.run(serve_stock(size, given.messages // 4, given.connections))
        print(f"{size:<9} {alone:<8.4f} {cpu:<8.4f} {stock:<9.4f} {pace():.1f}")


if __name__ == "__main__":
    main()
