"""A worker's copy of the settings: read from the snapshot, moved on by the change feed.

Guarantees: `current` is always one whole version; a gap in the feed is healed by reading the
snapshot file again (control writes it before it sends the change). A missing or damaged snapshot
stops the start with the file's name.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from relay.errors import ConfigError
from relay.settings import Change, SendingDomain, Settings, advance

_log = logging.getLogger(__name__)


class LiveSettings:
    """The settings in force in this process."""

    def __init__(self, snapshot: Path) -> None:
        """Read the snapshot; raises ConfigError if it is missing or not readable."""
        self._snapshot = snapshot
        self._set(self._read())

    @property
    def current(self) -> Settings:
        """Give the version in force."""
        return self._current

    def domain_by_id(self, id_: int) -> SendingDomain | None:
        """Find a sending domain by the id that tokens carry."""
        return self._domains_by_id.get(id_)

    def apply(self, changes: tuple[Change, ...]) -> None:
        """Take steps of the feed; those already known are passed over."""
        for change in changes:
            if change.version <= self._current.version:
                continue
            try:
                self._set(advance(self._current, change))
            except (ValueError, KeyError, msgspec.DecodeError):
                self._set(self._read())

    def reload(self) -> None:
        """Read the snapshot again."""
        self._set(self._read())

    def _set(self, settings: Settings) -> None:
        self._current = settings
        self._domains_by_id = {domain.id: domain for domain in settings.domains.values()}
        _log.debug("settings version %d in force", settings.version)

    def _read(self) -> Settings:
        try:
            return msgspec.msgpack.decode(self._snapshot.read_bytes(), type=Settings)
        except OSError as problem:
            raise ConfigError(f"{self._snapshot}: cannot be read: {problem.strerror}") from None
        except msgspec.DecodeError as problem:
            raise ConfigError(f"{self._snapshot}: not a settings snapshot: {problem}") from None
