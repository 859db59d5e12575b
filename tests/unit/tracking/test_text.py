"""Links in plain text: off unless asked for, and punctuation and wrapping survive."""

import pytest

from tests.harness.tracked import HEAD, delivered, plan_of
from tracking.offline import unmap
from tracking.text import text_links

URL = "https://h.test/a?b=1"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        (f"see {URL}", [URL]),
        (f"see {URL}.", [URL]),
        (f"see {URL}, or", [URL]),
        (f"({URL})", [URL]),
        (f"({URL}).", [URL]),
        ("https://h.test/wiki/A_(b)", ["https://h.test/wiki/A_(b)"]),
        ("(https://h.test/wiki/A_(b))", ["https://h.test/wiki/A_(b)"]),
        (f"<{URL}>", [URL]),
        (f'"{URL}"', [URL]),
        (f"[{URL}]", [URL]),
        (f"*{URL}*", [URL]),
        (f"{URL}!?", [URL]),
        (f"{URL}\r\n{URL}", [URL, URL]),
        (f"HTTPS{URL[5:]}", [f"HTTPS{URL[5:]}"]),
        ("<https://h.test/long\r\nrest>", []),
        (f"x{URL}", []),
        (f'{URL}[[data-msys-clicktrack="0"]]', []),
        ("mailto:a@b.test www.h.test", []),
    ],
)
def test_where_a_url_ends(text: str, urls: list[str]) -> None:
    data = text.encode()
    found = [data[link.start : link.end].decode() for link in text_links(data) if not link.excluded]
    assert found == urls


def message(text: str, fields: str = "") -> bytes:
    head = f"Content-Type: text/plain; charset=utf-8{fields}\r\n\r\n"
    return HEAD + head.encode() + text.encode()


def test_plain_text_is_left_unless_asked_for() -> None:
    source = message(f"see {URL}.\r\n")
    assert delivered(source) == source
    assert plan_of(source).skipped == "no-html"


@pytest.mark.parametrize("fields", ["", "; format=flowed; delsp=yes"])
def test_everything_but_the_url_stays(fields: str) -> None:
    source = message(f"> see <{URL}>,\r\n ({URL}). \r\n-- \r\nme\r\n", fields)
    out = delivered(source, plain_text=True)
    ours = [word.strip("<>(),.\r\n") for word in out.decode().split() if "/c/" in word]
    assert [unmap(url) for url in ours] == [URL, URL]
    for url in ours:
        out = out.replace(url.encode(), URL.encode())
    assert out == source


def test_a_vendors_mark_is_honoured_and_removed() -> None:
    source = message(f'{URL}[[data-msys-clicktrack="0"]] {URL}\r\n')
    out = delivered(source, plain_text=True)
    assert f"{URL} https://t.waypost.test/c/".encode() in out


def test_text_never_gets_a_pixel() -> None:
    assert b"<img" not in delivered(message(f"{URL}\r\n"), plain_text=True)


def test_no_other_text_is_touched() -> None:
    source = message(f"see {URL}\r\n").replace(b"text/plain", b"text/csv")
    assert delivered(source, plain_text=True) == source
