"""A DNS server on loopback, UDP and TCP on one port, whose faults are labels of the name asked for.

`zone` maps names (no final dot, lower case) to records by type, as text. A label in the name makes
it misbehave:

servfail, refused, silent   answer so, or not at all truncate                    UDP says
"truncated", TCP answers in full tcprefuse                   UDP says "truncated", TCP closes at
once forged                      first packets with a wrong id, a wrong question and plain rubbish,
then the good one rubbish                     only bytes that are no DNS message loop
a message whose compression pointer points at itself

Names in `signed` answer with the AD bit. `asked` counts questions.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from types import TracebackType
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = dict[str, dict[str, list[str]]]


class FakeDns:
    """Use as an async context manager; `port` is known inside."""

    def __init__(self, zone: Zone, *, signed: frozenset[str] = frozenset(), ttl: int = 300) -> None:
        """Answer from `zone`."""
        self.zone = zone
        self.signed = signed
        self.ttl = ttl
        self.port = 0
        self.asked: Counter[tuple[str, str]] = Counter()
        self.silent = False  # answers nobody while set
        self.broken_names: set[str] = set()  # answered with SERVFAIL, as bogus DNSSEC is
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen on a port that is free for both protocols."""
        loop = asyncio.get_running_loop()
        tcp, udp = _both_ports()
        self.port = tcp.getsockname()[1]
        self._server = await asyncio.start_server(self._serve_tcp, sock=tcp)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=udp)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def reply(self, wire: bytes, *, tcp: bool) -> list[bytes]:
        """Give the packets to send for a question."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        labels = set(name.split("."))
        if "silent" in labels or self.silent:
            return []
        if "rubbish" in labels:
            return [b"\x00\x01rubbish", wire[:2] + b"\xff" * 30]
        if "loop" in labels:  # header, then a question whose name points at itself
            return [wire[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + b"\xc0\x0c" * 4]
        if labels & {"truncate", "tcprefuse"} and not tcp:
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC
            return [short.to_wire()]
        good = self._answer(query, name, kind, labels).to_wire(max_size=65_535)
        if "forged" in labels and not tcp:
            return [*self._forged(query), good]
        return [good]

    def _answer(
        self, query: dns.message.Message, name: str, kind: str, labels: set[str]
    ) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        for label, code in (("servfail", dns.rcode.SERVFAIL), ("refused", dns.rcode.REFUSED)):
            if label in labels or (label == "servfail" and name in self.broken_names):
                response.set_rcode(code)
                return response
        owner = query.question[0].name
        records = self.zone.get(name)
        alias = (records or {}).get("CNAME")
        if alias:
            response.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", "CNAME", alias[0]))
            owner = dns.name.from_text(alias[0])
            records = self.zone.get(alias[0].rstrip("."))
        if records is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif records.get(kind):
            response.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", kind, *records[kind]))
        if name in self.signed:
            response.flags |= dns.flags.AD
        return response

    def _forged(self, query: dns.message.Message) -> list[bytes]:
        evil = dns.rrset.from_text(query.question[0].name, 300, "IN", "A", "203.0.113.66")
        wrong_id = dns.message.make_response(query)
        wrong_id.id = query.id ^ 0xFFFF
        wrong_id.answer.append(evil)
        other = dns.message.make_query("other.test.", "A")
        other.id = query.id
        wrong_question = dns.message.make_response(other)
        wrong_question.answer.append(
            dns.rrset.from_text("other.test.", 300, "IN", "A", "203.0.113.66")
        )
        rubbish = query.to_wire()[:2] + b"\x81\x80" + b"\xff" * 12
        return [wrong_id.to_wire(), wrong_question.to_wire(), rubbish]

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = struct.unpack("!H", await reader.readexactly(2))[0]
            wire = await reader.readexactly(size)
            name = dns.message.from_wire(wire).question[0].name.to_text().lower()
            if "tcprefuse" not in name:
                for packet in self.reply(wire, tcp=True):
                    writer.write(struct.pack("!H", len(packet)) + packet)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, dns.exception.DNSException):
            pass
        finally:
            writer.close()


def _both_ports() -> tuple[socket.socket, socket.socket]:
    """Bind a TCP and a UDP socket to one free port."""
    while True:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.bind(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:  # taken by somebody else: another port
            tcp.close()
            udp.close()
            continue
        return tcp, udp


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for packet in self._server.reply(data, tcp=False):
            self._transport.sendto(packet, addr)
