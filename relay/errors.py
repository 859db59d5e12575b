"""Everything Waypost raises on purpose.

WaypostError
+ ConfigError            the start stops; says file, key and what was expected
+ StorageError           becomes "451 4.3.0"; the message stays with the client
|   + SpoolFullError     becomes "452 4.3.1"; disk reserve or outbox bound reached
+ RefusedError           a submission that cannot be taken; becomes the SMTP reply it carries
+ OperationError         a change or a question not carried out; problem+json, or a command's error
    + InvalidError       422  a value that cannot be taken
    + NotFoundError      404  no such thing, or not the caller's
    + ConflictError      409  does not fit the present state
    + ForbiddenError     403  the key lacks the scope
    + UnavailableError   503  what the answer needs is away
"""

from __future__ import annotations

EXIT_CONFIG = 78  # sysexits.h EX_CONFIG: a setting cannot work, starting again will not help


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


class OperationError(WaypostError):
    """An operation on settings, or a question, that is not carried out.

    `status` is the HTTP status, `slug` names the kind for programs, `field` the input at fault
    or "".
    """

    status = 400
    slug = "bad-request"
    reply = ""  # the SMTP reply that says the same, where there is one
    retry_after = 0  # seconds after which it may be tried again; 0: no word about it

    def __init__(self, detail: str, *, field: str = "") -> None:
        """Keep what was wrong and what was expected, in words for the person who asked."""
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidError(OperationError):
    """A value that cannot be taken."""

    status = 422
    slug = "invalid"


class NotFoundError(OperationError):
    """No such thing, or not one that the caller may know of; both look the same."""

    status = 404
    slug = "not-found"


class ConflictError(OperationError):
    """It fits the rules but not the present state: a name is taken, a confirmation does not fit."""

    status = 409
    slug = "conflict"


class ForbiddenError(OperationError):
    """The caller is known, but its key does not have the scope for this."""

    status = 403
    slug = "forbidden"


class UnavailableError(OperationError):
    """What the answer needs is not there at the moment."""

    status = 503
    slug = "unavailable"
