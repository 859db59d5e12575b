"""Whether more connections come than can be served: those that wait to be accepted never become
few, and each new one would wait longer than the one before.

Pure but for `waiting`: numbers and seconds come in, what comes out is how many to turn away. A
crowd that comes at once is served in its turn; only a queue that has stood for a while is cut, to
what is served in half a second, so that whoever gets in gets in soon and the others are told to
come later instead of waiting for nothing (421).
"""

import socket
import struct

_PATIENCE = 1.0  # seconds for which a queue may stand
_HORIZON = 5.0  # seconds over which the rate is taken
_WAIT = 0.5  # seconds that who is kept waiting may have to wait
_FEW = 16  # as many may always wait
_UNACKED = 24  # where struct tcp_info keeps, for a listening socket, how many wait


def waiting(listening: socket.socket) -> int:
    """Say how many connections wait to be accepted; 0 where the kernel does not tell."""
    try:
        info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED + 4)
        found: int = struct.unpack_from("=I", info, _UNACKED)[0]
    except (OSError, struct.error, AttributeError):
        return 0
    return found


class Crowding:
    """What one process knows about the queue at a socket that it shares with others."""

    __slots__ = ("_processes", "_since", "_standing", "_taken")

    def __init__(self, processes: int = 1) -> None:
        """`processes`: how many accept from the socket."""
        self._processes = processes
        self._standing = False
        self._since = 0.0
        self._taken = 0.0

    def too_many(self, now: float, taken: int, waiting: int) -> int:
        """Say how many of those `waiting` to turn away, after `taken` were accepted."""
        if waiting <= _FEW:
            self._standing = False
            return 0
        if not self._standing:
            self._standing, self._since, self._taken = True, now, 0.0
        self._taken += taken
        stood = now - self._since
        if stood < _PATIENCE:
            return 0
        kept = self._taken / max(stood, 0.001) * self._processes * _WAIT
        if stood > _HORIZON:  # what was long ago counts less
            self._since, self._taken = now - stood / 2, self._taken / 2
        return max(0, waiting - max(_FEW, int(kept)))
