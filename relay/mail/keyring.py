"""The key ring: numbered secrets in one file.

Guarantees: the file has mode 0600 and is replaced atomically (written beside, fsynced, renamed);
a secret once made keeps its number for ever, and old ones keep verifying after a rotation.
Tracking tokens, return paths and the encryption of stored DKIM keys each derive their own key
from these secrets by a label (`mac.derive`), so one file is the whole backup.
Leaves to others: when to rotate, and when an old secret may be forgotten.
"""

import json
import os
import secrets
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from relay.mail.mac import MIN_SECRET, derive

MAX_KEY_ID = 4095
SECRET_SIZE = 32


class KeyRingError(ValueError):
    """The key ring file cannot be used; the text says which file and why."""


class KeyRing:
    """Numbered secrets; the one with the highest number signs, all of them verify."""

    def __init__(self, secrets_by_id: Mapping[int, bytes], path: Path | None = None) -> None:
        """Hold these secrets; with a path, `rotate` also writes the file.

        Raises KeyRingError for no secret at all, a number outside 1 to 4095 or a short secret.
        """
        if not secrets_by_id:
            raise KeyRingError("a key ring needs at least one secret")
        for key_id, secret in secrets_by_id.items():
            if not 1 <= key_id <= MAX_KEY_ID:
                raise KeyRingError(f"key id {key_id}: expected 1 to {MAX_KEY_ID}")
            if len(secret) < MIN_SECRET:
                raise KeyRingError(f"key {key_id} has {len(secret)} bytes, expected 16 or more")
        self._secrets = dict(secrets_by_id)
        self._path = path
        self._read = _stamp(path)
        self._derive = lru_cache(maxsize=256)(self._derive_now)

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Read a ring; raises KeyRingError for bad content or a file others may read.

        Raises OSError as the file system does, FileNotFoundError included.
        """
        stamp = _stamp(path)
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise KeyRingError(f"{path}: mode is {mode:04o}, expected 0600: others could read it")
        try:
            content = json.loads(path.read_bytes())
            held = {int(key_id): bytes.fromhex(text) for key_id, text in content["keys"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeyRingError(f"{path}: not a key ring ({error})") from error
        try:
            ring = cls(held, path)
        except KeyRingError as error:
            raise KeyRingError(f"{path}: {error}") from None
        ring._read = stamp  # of before the reading: what came since is seen as new
        return ring

    @classmethod
    def load_or_create(cls, path: Path) -> "KeyRing":
        """Read the ring, or make one with a first secret; of two makers at once one wins."""
        try:
            return cls.load(path)
        except FileNotFoundError:
            ring = cls({1: secrets.token_bytes(SECRET_SIZE)}, path)
            ring._create()
            return cls.load(path)

    @classmethod
    def of(cls, secret: bytes) -> "KeyRing":
        """Give a ring of one fixed secret that no file holds, for tests and offline checks."""
        return cls({1: secret})

    @property
    def current(self) -> int:
        """The number of the secret that signs."""
        return max(self._secrets)

    @property
    def ids(self) -> Mapping[int, None]:
        """The numbers of all secrets."""
        return MappingProxyType(dict.fromkeys(sorted(self._secrets)))

    def get(self, key_id: int) -> bytes | None:
        """Give a secret by its number; None when the ring does not have it."""
        return self._secrets.get(key_id)

    def key(self, key_id: int, label: str) -> bytes | None:
        """Derive the key of one purpose from a numbered secret; None when there is no such."""
        if key_id not in self._secrets and not (self._moved() and key_id in self._secrets):
            return None
        return self._derive(key_id, label)

    def reload(self) -> None:
        """Take up secrets that another process added; those held stay. Raises as `load` does."""
        if self._path is not None:
            stamp = _stamp(self._path)
            self._secrets = {**KeyRing.load(self._path)._secrets, **self._secrets}
            self._read = stamp

    def _moved(self) -> bool:
        """Reload if the file was replaced since it was read; a file that is gone changes nothing.

        So a worker verifies what another one signed with a new key before it was told of it.
        """
        if self._path is None or _stamp(self._path) in (self._read, None):
            return False
        try:
            self.reload()
        except (OSError, KeyRingError):
            return False
        return True

    def _derive_now(self, key_id: int, label: str) -> bytes:
        return derive(self._secrets[key_id], label)

    def rotate(self) -> int:
        """Add a fresh secret, write the file, and give the new number; it signs from now on.

        Raises KeyRingError when the numbers are used up.
        """
        self._moved()
        fresh = self.current + 1
        if fresh > MAX_KEY_ID:
            raise KeyRingError(f"the ring has used all {MAX_KEY_ID} key ids")
        grown = {**self._secrets, fresh: secrets.token_bytes(SECRET_SIZE)}
        if self._path is not None:
            _replace(self._path, _encoded(grown))
        self._secrets = grown
        self._read = _stamp(self._path)
        return fresh

    def _create(self) -> None:
        """Write a file that is not there yet; if another process was first, its file stays."""
        if self._path is None:
            return
        made = _written_beside(self._path, _encoded(self._secrets))
        try:
            os.link(made, self._path)
        except FileExistsError:
            pass
        finally:
            made.unlink()
        _sync_directory(self._path.parent)


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """Tell one content of the file from another; None where there is none."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns) if found else None


def _encoded(held: Mapping[int, bytes]) -> bytes:
    keys = {str(key_id): held[key_id].hex() for key_id in sorted(held)}
    return json.dumps({"keys": keys}, indent=2).encode() + b"\n"


def _written_beside(path: Path, content: bytes) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return beside


def _replace(path: Path, content: bytes) -> None:
    _written_beside(path, content).replace(path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
