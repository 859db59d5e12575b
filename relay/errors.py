"""Everything Waypost raises on purpose.

WaypostError
+ ConfigError            the start stops; says file, key and what was expected
+ StorageError           becomes "451 4.3.0"; the message stays with the client
|   + SpoolFullError     becomes "452 4.3.1"; disk reserve or outbox bound reached
+ RefusedError           a submission that cannot be taken; becomes the SMTP reply it carries
"""

from __future__ import annotations


class WaypostError(Exception):
    """Root of what Waypost raises on purpose."""


class ConfigError(WaypostError):
    """A setting that cannot work; the text names file, key and what was expected."""


class StorageError(WaypostError):
    """The disk did not keep what it was given; nothing was acknowledged."""


class SpoolFullError(StorageError):
    """The disk reserve or the outbox bound is reached; new mail has to wait at the client."""


class RefusedError(WaypostError):
    """A submission that is not taken; `code`, `enhanced` and `text` are the SMTP reply."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        """Keep the parts of the reply; `text` is ASCII without line ends."""
        super().__init__(f"{code} {enhanced} {text}")
        self.code = code
        self.enhanced = enhanced
        self.text = text

    @property
    def reply(self) -> str:
        """Give the reply line as it goes on the wire, without CRLF."""
        return f"{self.code} {self.enhanced} {self.text}"
