"""Promise 3 by parsers that are not ours: what differs between a mail and what was delivered.

The standard library's email package finds the parts and decodes them, html5lib builds the trees.
Every other part, every byte of a page outside the replaced values, and the tree itself must be the
same; a replaced value must lead to what stood there. Of vendors' marks three are known, each
written in one way.
"""

import email
import email.policy
import html
import re
from dataclasses import dataclass, field
from email.message import Message
from xml.etree.ElementTree import Element

import html5lib  # type: ignore[import-untyped]

from tests.harness.tracked import as_browsers_do, decoded
from tracking.offline import is_pixel, unmap

_XHTML = "{http://www.w3.org/1999/xhtml}"
_OURS = re.compile(rb"https://t\.waypost\.test/c/[A-Za-z0-9_-]+")
_PIXEL = re.compile(rb'(?:\r\n)?<img src="(https://t\.waypost\.test/o/[A-Za-z0-9_-]+\.gif)"[^>]*>')
_MARK = re.compile(rb" (?:clicktracking=off|ses:no-track|data-pm-no-track)")
_JAPANESE = re.compile(rb"\x1b\$[@B][^\x1b]*\x1b\([BJ]")  # its characters may look like quotes
_MARKS = ("clicktracking", "ses:no-track", "data-pm-no-track")
_AROUND = "".join(map(chr, range(33)))


@dataclass(slots=True)
class Alignment:
    """What was found: how many links and pixels of ours, and what else differs."""

    links: int = 0
    pixels: int = 0
    wrong: list[str] = field(default_factory=list)


def align(original: bytes, delivered: bytes) -> Alignment:
    """Compare a mail with its delivered form."""
    said = Alignment()
    if original == delivered:
        return said
    before, after = (
        email.message_from_bytes(each, policy=email.policy.compat32)
        for each in (original, delivered)
    )
    parts = list(zip(before.walk(), after.walk(), strict=False))
    if len(list(before.walk())) != len(list(after.walk())):
        said.wrong.append("another number of parts")
    for old, new in parts:
        _part(old, new, said)
    return said


def _part(old: Message, new: Message, said: Alignment) -> None:
    names = [
        [(name, value) for name, value in each.items() if name != "Content-Transfer-Encoding"]
        for each in (old, new)
    ]
    if names[0] != names[1]:
        said.wrong.append("another header")
    if old.is_multipart() or new.is_multipart():
        return
    was, now = decoded(old), decoded(new)
    if was == now:
        return
    if old.get_content_type() != "text/html":
        said.wrong.append(f"a part of {old.get_content_type()} changed")
        return
    charset = as_browsers_do(old.get_content_charset() or "utf-8")
    _bytes(was, now, charset, said)
    trees = [html5lib.parse(each.decode(charset, "replace")) for each in (was, now)]
    _trees(trees[0], trees[1], said)


def _bytes(was: bytes, now: bytes, charset: str, said: Alignment) -> None:
    """Put back what our links lead to, and see that all else is in its place."""
    was, now = _MARK.sub(b"", was), _MARK.sub(b"", now)
    pixels = [found for found in _PIXEL.finditer(now) if is_pixel(found[1].decode())]
    said.pixels += len(pixels)
    for found in pixels:
        cut = now[: found.start()] + now[found.end() :]
        kept = now[: found.start()] + b"\r\n" + now[found.end() :]
        now = (
            kept
            if found[0].startswith(b"\r\n") and was.count(b"\r\n") > cut.count(b"\r\n")
            else cut
        )
    at = 0
    last = 0
    for found in _OURS.finditer(now):
        said.links += 1
        at = _behind(was, at, now[last : found.start()], said)
        target = unmap(found[0].decode())
        end = _value_end(was, at, target, charset)
        if end < 0:
            said.wrong.append(f"{target!r} does not stand at {at}: {was[at : at + 80]!r}")
            return
        at, last = end, found.end()
    if _behind(was, at, now[last:], said) != len(was):
        said.wrong.append(f"the end differs behind {at}")


def _behind(was: bytes, at: int, piece: bytes, said: Alignment) -> int:
    """Pass a piece that must stand here."""
    if not was.startswith(piece, at):
        same = next(
            (n for n, byte in enumerate(piece) if was[at + n : at + n + 1] != bytes((byte,))), 0
        )
        here = at + same
        said.wrong.append(
            f"at {here}: {was[here : here + 60]!r} became {piece[same : same + 60]!r}"
        )
    return at + len(piece)


def _value_end(was: bytes, at: int, target: str | None, charset: str) -> int:
    """Give the end of the value at `at` that means `target`, -1 if there is none."""
    if target is None:
        return -1
    whole, was = was, _JAPANESE.sub(lambda found: b"x" * len(found[0]), was)
    quote = was[at - 1 : at]
    stop = was.find(quote, at) if quote in (b'"', b"'") else -1
    if stop < 0:
        unquoted = re.compile(rb"[\t\n\f\r >]").search(was, at)
        stop = unquoted.start() if unquoted else len(was)
    try:
        text = whole[at:stop].decode(charset)
    except UnicodeDecodeError:
        return -1
    value = html.unescape(text.replace("&copy=", "&amp;copy="))  # an attribute's (13.2.5.73)
    return stop if trimmed(value) == target else -1


def trimmed(href: str) -> str:
    """Give what a browser's URL parser begins with."""
    return href.strip(_AROUND).translate({9: None, 10: None, 13: None})


_NAMES = ("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "u")
_FORMATTING = frozenset(f"{_XHTML}{name}" for name in (*_NAMES, "tt"))


@dataclass(slots=True)
class _Piece:
    """An element that is no formatting, or a run of text, and the link that it stands in."""

    name: str  # "" for text
    text: str
    attributes: dict[str, str]
    link: dict[str, str]


def _trees(was: Element, now: Element, said: Alignment) -> None:
    """Compare what stands in both trees in its order: elements, text, and the links around them.

    Formatting elements that were never closed, links among them, are opened again by whatever
    comes next (13.2.4.3), the pixel too; so they count by the texts and pictures that they stand
    around: an empty block behind the pixel may come to lie inside a link that was never closed.
    """
    old, new = _pieces(was)[::-1], _pieces(now)[::-1]
    while old and new:
        one, other = old.pop(), new.pop()
        if one.text and other.text:  # split where either changes its link
            length = min(len(one.text), len(other.text))
            for piece, rest in ((one, old), (other, new)):
                if piece.text[length:]:
                    rest.append(_Piece("", piece.text[length:], {}, piece.link))
                piece.text = piece.text[:length]
        if (one.name, one.text) != (other.name, other.text):
            said.wrong.append(f"{one.name or one.text!r} became {other.name or other.text!r}")
            return
        _attributes(one.name, one.attributes, other.attributes, said)
        if one.text.strip() or one.name in ("img", "input"):
            _attributes("a", one.link, other.link, said)
    if old or new:
        said.wrong.append(f"{len(old)} elements too few, {len(new)} too many")


def _pieces(root: Element) -> list[_Piece]:
    found: list[_Piece] = []
    stack: list[tuple[Element | str, dict[str, str]]] = [(root, {})]
    while stack:
        each, link = stack.pop()
        if isinstance(each, str):
            found.append(_Piece("", each, {}, link))
            continue
        if _is_our_pixel(each):
            continue
        inside = dict(each.items()) if each.tag == f"{_XHTML}a" else link
        if each.tag not in _FORMATTING:
            found.append(_Piece(_name(each), "", dict(each.items()), link))
        for child in reversed(list(each)):
            stack += [(child.tail, inside)] if child.tail else []
            stack.append((child, inside))
        stack += [(each.text, inside)] if each.text else []
    return found


def _attributes(tag: str, old: dict[str, str], new: dict[str, str], said: Alignment) -> None:
    for name in old.keys() | new.keys():
        was, now = old.get(name), new.get(name)
        if was == now or (now is None and name in _MARKS):
            continue
        link = name == "href" and tag in ("a", "area")
        if not link or was is None or now is None or unmap(now) != trimmed(was):
            said.wrong.append(f"{name} of <{tag}>: {was!r} became {now!r}")


def _is_our_pixel(element: Element) -> bool:
    return element.tag == f"{_XHTML}img" and is_pixel(element.get("src") or "")


def _name(element: Element) -> str:
    return str(element.tag).removeprefix(_XHTML)
