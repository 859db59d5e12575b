"""The two readings of a document, against each other and against html5lib's tree."""

import random
from xml.etree import ElementTree as ET

import html5lib  # type: ignore[import-untyped]
import pytest

from tracking import placement
from tracking.scan import scan

# no `template`: html5lib knows it as an ordinary element
NAMES = [
    *("p", "div", "td", "tr", "table", "tbody", "th", "caption", "colgroup", "col", "a", "a", "a"),
    *("span", "b", "i", "font", "ul", "li", "dl", "dt", "dd", "h1", "center", "form", "button"),
    *("select", "option", "textarea", "title", "style", "script", "svg", "math", "object"),
    *("noscript", "map", "area", "img", "br", "hr", "body", "html", "head", "marquee", "video"),
    *("pre", "blockquote", "nobr", "iframe", "noframes", "xmp", "foreignObject", "desc"),
]
TEXTS = ["x", " ", "\n", "text", "<!-- c -->", "<!--[if mso]>x<![endif]-->"]
FORMATTING = {"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong",
              "tt", "u"}  # fmt: skip
HIDING = {"template", "head", "noscript", "select", "object", "noframes", "frameset"}
STRUCTURE = {"table", "tbody", "thead", "tfoot", "tr", "colgroup", "svg", "math", "map", "button",
             "video", "option"}  # fmt: skip


def document(chance: random.Random) -> bytes:
    """Make a document out of tags in any order."""
    out: list[str] = []
    if chance.random() < 0.5:
        out.append("<!DOCTYPE html>")
    if chance.random() < 0.5:
        out.append("<html><head><title>t</title></head><body>")
    for _ in range(chance.randrange(1, 25)):
        name = chance.choice(NAMES)
        if chance.random() < 0.45:
            out.append(f"</{name}>")
        elif name in ("a", "area"):
            out.append(f'<{name} href="https://h.test/{chance.randrange(1000)}">')
        else:
            out.append(f"<{name}{chance.choice(['', '', '', ' class=x', ' /'])}>")
        if chance.random() < 0.4:
            out.append(
                chance.choice(["x", " ", "\n", "text", "<!-- c -->", "<!--[if mso]>x<![endif]-->"])
            )
    if chance.random() < 0.5:
        out.append("</body></html>")
    return "".join(out).encode()


def misplaced(data: bytes, place: int) -> str:
    """Say what is wrong with an image put at `place`, by html5lib's tree; "" for nothing."""
    text = data[:place] + b"<!--A--><img id=pixel><!--B-->" + data[place:]
    tree = html5lib.parse(text.decode(), treebuilder="etree", namespaceHTMLElements=False)
    parents = {child: parent for parent in tree.iter() for child in parent}
    images = [each for each in tree.iter("img") if each.get("id") == "pixel"]
    marks = [each for each in parents if each.tag is ET.Comment and each.text == "A"]
    if len(images) != 1 or not marks:
        return "no element"
    around = parents[images[0]]
    while around is not parents[marks[0]] and around.tag in FORMATTING:
        around = parents[around]
    if around is not parents[marks[0]]:
        return f"moved to {around.tag}"
    above = [str(around.tag)]
    while around in parents:
        around = parents[around]
        above.append(str(around.tag))
    if above[0].rpartition("}")[2] in STRUCTURE or HIDING & set(above) or "body" not in above:
        return f"inside {above[:3]}"
    return ""


def readings(data: bytes) -> tuple[list[int], list[str], bool]:
    quick = scan(data, 0, len(data), outlook=False)
    exact = placement.read(data, 0, len(data), outlook=False)
    places = [exact.place]
    if not quick.unusual and quick.pixel >= 0:
        places.append(quick.pixel)
        assert quick.anchors == [each.anchor for each in exact.anchors]
        assert not any(each.reason for each in exact.anchors)
    hrefs = [
        data[each.anchor.start : each.anchor.end].decode()
        for each in exact.anchors
        if not each.reason
    ]
    return [place for place in places if place >= 0], hrefs, len(places) == 2


@pytest.mark.parametrize("seed", range(8))
def test_a_pixel_stays_where_it_is_put(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - documents, no secrets
    placed = quickly = 0
    for _ in range(250):
        data = document(chance)
        places, _, quick = readings(data)
        quickly += quick
        for place in places:
            placed += 1
            assert misplaced(data, place) == "", (data[:place], data[place:])
    assert placed > 150
    assert quickly > 5


@pytest.mark.parametrize("seed", range(4))
def test_links_are_those_of_the_tree(seed: int) -> None:
    # html5lib follows an older rule about end tags in svg and math, so these stay out here
    chance = random.Random(100 + seed)  # noqa: S311 - documents, no secrets
    names = [name for name in NAMES if name not in ("svg", "math", "noscript", "select")]
    compared = 0
    for _ in range(250):
        data = document(chance)
        if any(f"<{name}".encode() in data for name in set(NAMES) - set(names)):
            continue
        compared += 1
        tree = html5lib.parse(data.decode(), treebuilder="etree", namespaceHTMLElements=False)
        wanted = {each.get("href") for each in tree.iter() if each.tag in ("a", "area")} - {None}
        assert set(readings(data)[1]) == wanted, data
    assert compared > 80


def test_the_test_sees_a_misplaced_pixel() -> None:
    data = b"<body><table><tr><td>x</td></tr></table></body>"
    assert misplaced(data, data.index(b"</tr>"))
    assert misplaced(data, data.index(b"<body>"))
    assert not misplaced(data, data.index(b"</body>"))
