"""Keys: derivation by the RFC's vectors, signatures, and one file that survives two makers."""

import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail import mac
from relay.mail.keyring import KeyRing, KeyRingError


def test_derivation_matches_rfc_5869_without_salt() -> None:
    # Test case 3: zero-length salt and info
    derived = mac.derive(b"\x0b" * 22, "", 42)
    assert derived.hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_labels_keep_keys_apart() -> None:
    assert mac.derive(b"s" * 32, "one") != mac.derive(b"s" * 32, "two")


@pytest.mark.parametrize(("secret", "size"), [(b"short", 32), (b"s" * 32, 0), (b"s" * 32, 9000)])
def test_impossible_derivations_are_refused(secret: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=r"bytes"):
        mac.derive(secret, "label", size)


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=300), st.integers(8, 32))
def test_signatures_are_hmac_sha_256(key: bytes, message: bytes, size: int) -> None:
    expected = hmac.digest(key, message, "sha256")[:size]
    assert mac.mac(key, message, size) == expected
    assert mac.Signer(key)(message, size) == expected
    assert mac.verify(key, message, expected)
    assert not mac.verify(key, message + b"x", expected)


@pytest.mark.parametrize("signature", [b"", b"x" * 7, b"x" * 33])
def test_signatures_of_no_size_are_wrong(signature: bytes) -> None:
    assert not mac.verify(b"key", b"message", signature)


def test_a_ring_is_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    made = KeyRing.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = KeyRing.load_or_create(path)
    assert again.current == made.current == 1
    assert again.get(1) == made.get(1)
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]


def test_of_makers_at_once_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: KeyRing.load_or_create(path), range(16)))
    assert len({ring.get(1) for ring in rings}) == 1


def test_rotation_keeps_old_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    ring = KeyRing.load_or_create(path)
    old = ring.get(1)
    assert ring.rotate() == 2
    assert ring.current == 2
    again = KeyRing.load(path)
    assert again.current == 2
    assert again.get(1) == old
    assert again.get(2) == ring.get(2) != old
    assert list(again.ids) == [1, 2]
    assert path.stat().st_mode & 0o777 == 0o600


def test_unknown_keys_are_none() -> None:
    ring = KeyRing.of(b"s" * 32)
    assert ring.get(7) is None
    assert ring.key(7, "label") is None
    assert ring.key(1, "label") == mac.derive(b"s" * 32, "label")


def test_numbers_run_out_with_a_clear_word() -> None:
    with pytest.raises(KeyRingError, match="4095"):
        KeyRing({4095: b"s" * 32}).rotate()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nonsense", "not a key ring"),
        ("[]", "not a key ring"),
        ('{"keys": {"1": "zz"}}', "not a key ring"),
        ('{"keys": {}}', "at least one"),
        ('{"keys": {"1": "00"}}', "16 or more"),
        ('{"keys": {"0": "00"}}', "expected 1 to 4095"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyRingError, match=f"keys.json.*{words}"):
        KeyRing.load(path)


def test_a_file_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": {"1": "00" * 32}}))
    path.chmod(0o640)
    with pytest.raises(KeyRingError, match="0640, expected 0600"):
        KeyRing.load(path)


def test_another_process_verifies_with_a_key_it_was_not_told_of(tmp_path: Path) -> None:
    """Whoever rotates signs at once; the others find the key when they first meet its number."""
    path = tmp_path / "ring.json"
    one = KeyRing.load_or_create(path)
    other = KeyRing.load(path)
    assert other.key(2, "label") is None
    assert one.rotate() == 2
    assert other.current == 1
    assert other.key(2, "label") == one.key(2, "label")
    assert other.current == 2
    assert other.key(1, "label") == one.key(1, "label")
    assert other.key(3, "label") is None


def test_a_ring_that_vanished_or_is_damaged_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    ring = KeyRing.load_or_create(path)
    key = ring.key(1, "label")
    path.write_text("{")
    assert ring.key(2, "label") is None
    path.unlink()
    assert ring.key(2, "label") is None
    assert ring.key(1, "label") == key


def test_two_that_rotate_make_two_keys(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    one, other = KeyRing.load_or_create(path), KeyRing.load(path)
    assert [one.rotate(), other.rotate(), one.rotate()] == [2, 3, 4]
    assert list(KeyRing.load(path).ids) == [1, 2, 3, 4]
