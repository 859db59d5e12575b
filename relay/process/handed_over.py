"""What a service manager hands to the supervisor and hears from it, by systemd's two protocols
(sd_listen_fds, sd_notify); without them nothing happens.

Guarantees: sockets that the manager holds stay open while the relay itself is replaced, so that a
client waits instead of being refused; the variables that name them are taken out of the
environment, so that no child takes them for its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, MutableMapping

from relay.layout import split_endpoint

_FIRST = 3
"""The first descriptor that is handed over."""


class HandedOver:
    """Listening sockets that came with the start, each taken once."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        """Take them over."""
        self._sockets = sockets

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> HandedOver:
        """Find those that are meant for this process (LISTEN_PID, LISTEN_FDS), and forget the
        variables.
        """
        count = environment.pop("LISTEN_FDS", "")
        meant = environment.pop("LISTEN_PID", "")
        environment.pop("LISTEN_FDNAMES", None)
        if meant != str(os.getpid()) or not count.isdecimal():
            return cls([])
        return cls(list(_listening(range(_FIRST, _FIRST + int(count)))))

    def take(self, endpoint: str) -> socket.socket | None:
        """Give the socket that listens on "host:port", if it was handed over."""
        host, port = split_endpoint(endpoint)
        for each in self._sockets:
            if each.getsockname()[:2] == (host, port):
                self._sockets.remove(each)
                return each
        return None

    def close(self) -> list[str]:
        """Close what nobody took; gives where it listened."""
        left = [str(each.getsockname()) for each in self._sockets]
        for each in self._sockets:
            each.close()
        self._sockets = []
        return left


def _listening(descriptors: range) -> Iterator[socket.socket]:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
        found.setblocking(False)
        yield found


class Manager:
    """Whoever wants to know how far the service is; nobody without NOTIFY_SOCKET."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the address, and forget the variable."""
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def tell(self, state: str) -> None:
        """Say "READY=1", for instance; who cannot be reached is not told."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
                speaker.sendto(state.encode("ascii"), self._address)
        except OSError:
            pass  # the manager is gone or full: no reason to end for us
