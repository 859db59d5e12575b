"""Contents kept in memory, bounded in octets: the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict

from relay.message import Message

_OVERHEAD = 1000  # octets a Message and its entry take, roughly


class ContentCache:
    """Messages by id with their contents."""

    def __init__(self, limit: int) -> None:
        """`limit` is in octets of content."""
        self._limit = limit
        self._entries: OrderedDict[int, tuple[Message, bytes]] = OrderedDict()
        self.octets = 0

    def put(self, message: Message, content: bytes) -> None:
        """Keep a message; one larger than a quarter of the cache is not kept."""
        size = len(content) + _OVERHEAD
        if size > self._limit // 4 or message.id in self._entries:
            return
        self._entries[message.id] = (message, content)
        self.octets += size
        while self.octets > self._limit:
            _, (_, oldest) = self._entries.popitem(last=False)
            self.octets -= len(oldest) + _OVERHEAD

    def get(self, message: int) -> tuple[Message, bytes] | None:
        """Give a message and its content, or None."""
        found = self._entries.get(message)
        if found is not None:
            self._entries.move_to_end(message)
        return found

    def drop(self, message: int) -> None:
        """Forget a message that left the spool."""
        found = self._entries.pop(message, None)
        if found is not None:
            self.octets -= len(found[1]) + _OVERHEAD
