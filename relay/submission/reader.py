"""Command lines from a stream of octets: found once, bounded, never copied twice.

A line ends at LF, so that a bare LF is seen at once and can be refused; whether it is well formed
is for the caller to judge. Of a line longer than `keep` octets only its head is kept and `overlong`
says so; time stays linear and memory flat however it is cut into chunks.
"""

HEAD = 512


class LineReader:
    """A buffer that gives lines.

    `length` is that of the line given last and `overlong` tells whether it was cut to its head;
    `dropped` counts the octets of the overlong line being read.
    """

    __slots__ = ("_buffer", "_head", "_keep", "_scanned", "dropped", "length", "overlong")

    def __init__(self, keep: int) -> None:
        """`keep`: the longest line kept whole, in octets with its line end."""
        self._keep = keep
        self._buffer = bytearray()
        self._scanned = 0
        self._head = b""
        self.dropped = 0
        self.length = 0
        self.overlong = False

    def __len__(self) -> int:
        """Octets held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Append octets."""
        self._buffer += data

    def clear(self) -> None:
        """Forget everything held."""
        self._buffer.clear()
        self._scanned = 0
        self.dropped = 0

    def begins_binary(self) -> bool:
        """Whether the next line starts as no text does: a TLS record or some other protocol."""
        if not self._buffer or self.dropped:
            return False
        first = self._buffer[0]
        return first >= 0x80 or (first < 0x20 and first not in b"\t\r\n")

    def take(self) -> bytes | None:
        """Give the next line with its line end, or None if it is not complete."""
        buffer = self._buffer
        end = buffer.find(b"\n", self._scanned) + 1
        if not end:
            self._scanned = len(buffer)
            if self.dropped or len(buffer) > self._keep:
                self._drop()
            return None
        line = bytes(buffer[:end])
        del buffer[:end]
        self._scanned = 0
        self.length = self.dropped + len(line)
        self.overlong = self.length > self._keep
        if self.dropped:
            line = self._head
            self.dropped = 0
        elif self.overlong:
            line = line[:HEAD]
        return line

    def _drop(self) -> None:
        if not self.dropped:
            self._head = bytes(self._buffer[:HEAD])
        self.dropped += len(self._buffer)
        self._buffer.clear()
        self._scanned = 0
