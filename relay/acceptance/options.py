"""What a message asks for: the one internal model that every control header is mapped to.

Guarantees: whatever is said twice takes the most restrictive value (any `off` is off); everything
is bounded; what could not be read is a note for the sender, never a guess.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from relay.errors import RefusedError
from relay.mail.header import Field

MAX_TAGS = 10
MAX_METADATA_OCTETS = 10_000
_TEXT = re.compile(r"^[^\x00-\x1f\x7f]{1,128}$")
_ON = frozenset({"on", "yes", "true", "1", "html", "htmlonly", "all", "enabled", "enable"})


class Options(msgspec.Struct):
    """What a message asks for. None means that it says nothing; times are microseconds."""

    campaign: str = ""
    template: str = ""
    tags: list[str] = []
    metadata: dict[str, str] = {}
    opens: bool | None = None
    clicks: bool | None = None
    text_links: bool | None = None  # links in the plain-text part
    unsubscribe: bool | None = None
    priority: int = 0
    not_before: int = 0
    sandbox: bool = False  # accepted and counted, not sent
    pool: str = ""  # of source addresses
    notes: list[str] = []  # what was not applied, and why
    strip: list[Field] = []  # control fields, to be taken out

    def set_campaign(self, name: str, value: str) -> None:
        """Take a campaign name; the first one stays."""
        self.campaign = self.campaign or self._text(name, value)

    def set_template(self, name: str, value: str) -> None:
        """Take a template name; the first one stays."""
        self.template = self.template or self._text(name, value)

    def set_pool(self, name: str, value: str) -> None:
        """Take the name of a pool of source addresses; the first one stays."""
        self.pool = self.pool or self._text(name, value).lower()

    def add_tag(self, name: str, value: str) -> None:
        """Take one tag."""
        text = self._text(name, value)
        if text and text not in self.tags:
            if len(self.tags) < MAX_TAGS:
                self.tags.append(text)
            else:
                self.notes.append(f"{name}: more than {MAX_TAGS} tags")

    def track_opens(self, value: object) -> None:
        """Take a wish for or against the pixel."""
        self.opens = _restricted(self.opens, value)

    def track_clicks(self, value: object) -> None:
        """Take a wish for or against link rewriting; `html`, `text` and `all` say which part."""
        said = str(value).strip().lower()
        if said in ("html", "htmlonly"):
            self.text_links = False
        elif said in ("text", "textonly", "all"):
            self.text_links = self.text_links is not False
        wished = False if said in ("text", "textonly") else value
        self.clicks = _restricted(self.clicks, wished)

    def put(self, name: str, key: str, value: object) -> None:
        """Take one entry of metadata."""
        text = value if isinstance(value, str) else str(value)
        used = sum(len(k) + len(v) for k, v in self.metadata.items())
        if not key or used + len(key) + len(text) > MAX_METADATA_OCTETS or "\0" in key + text:
            self.notes.append(f"{name}: metadata {key[:40]!r} is too long or not text")
        else:
            self.metadata[key] = text

    def schedule(self, name: str, value: str, now: int, furthest: int) -> None:
        """Take the moment before which nothing is sent: RFC 5322, RFC 3339 or seconds since 1970.

        Raises RefusedError for anything else and for more than `furthest` microseconds ahead:
        sending now instead would be a different mail.
        """
        at = _moment(value.strip())
        if at is None:
            raise RefusedError(550, "5.6.0", f"{name}: a date (RFC 5322 or RFC 3339) is expected")
        if at > now + furthest:
            days = furthest // 86_400_000_000
            raise RefusedError(550, "5.6.0", f"{name}: at most {days} days ahead are possible")
        self.not_before = max(self.not_before, at)

    def ignore(self, name: str, why: str = "not supported here") -> None:
        """Note a field, or a key in one, that has no effect."""
        self.notes.append(f"{name}: {why}")

    def merged_over(self, other: Options) -> Options:
        """Give these options, with the other's where these say nothing."""
        return Options(
            campaign=self.campaign or other.campaign,
            template=self.template or other.template,
            tags=(self.tags + [tag for tag in other.tags if tag not in self.tags])[:MAX_TAGS],
            metadata={**other.metadata, **self.metadata},
            opens=self.opens if self.opens is not None else other.opens,
            clicks=self.clicks if self.clicks is not None else other.clicks,
            text_links=self.text_links if self.text_links is not None else other.text_links,
            unsubscribe=self.unsubscribe if self.unsubscribe is not None else other.unsubscribe,
            priority=self.priority or other.priority,
            not_before=self.not_before or other.not_before,
            sandbox=self.sandbox or other.sandbox,
            pool=self.pool or other.pool,
            notes=self.notes + other.notes,
            strip=sorted(self.strip + other.strip, key=lambda one: one.start),
        )

    def _text(self, name: str, value: str) -> str:
        if _TEXT.match(value):
            return value
        self.notes.append(f"{name}: 1 to 128 printable characters are expected")
        return ""


def _restricted(before: bool | None, value: object) -> bool:
    """Read an on/off value; whatever is not clearly on is off, and off wins over on."""
    on = value is True or str(value).strip().lower() in _ON
    return on and before is not False


def _moment(value: str) -> int | None:
    if re.fullmatch(r"\d{9,11}", value):
        return int(value) * 1_000_000
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)  # Mandrill's SendAt says UTC without saying so
    try:
        return int(at.timestamp()) * 1_000_000
    except (ValueError, OverflowError, OSError):
        return None
