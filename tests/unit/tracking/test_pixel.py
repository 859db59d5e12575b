"""The pixel: once, where it renders, and nowhere else."""

import re

import pytest

from tests.harness.tracked import delivered, html_message, multipart, read

ENCODINGS = ["8bit", "quoted-printable", "base64"]
LINK = "https://h.test/a?x=1"


PLACES = [
    ("<html><body><p>x</p>", "</body></html>"),
    ("<HTML><BODY><p>x</p>", "</BODY></HTML>"),
    ("<p>x</p>", ""),
    ("<p>x</p>", "\r\n"),
    ("<html><body>x</body>y", "</body></html>"),
    ("<html><body>x", "</body></body></html>"),
    ("<body>x<!-- </body> -->", "</body>"),
    ('<body><p title="</body>">x</p>', "</body>"),
    ("<body><script>'</body>'</script>x", "</body>"),
    ("<body><style></body></style>x", "</body>"),
    ("<html><body>x", "</html>"),
    ("<body><table><tr><td>x", "</td></tr></body>"),
    ("<body><table><tr><td>x</td></tr></table>", "</body>"),
    ("<body><table><tr><td>x</td></tr><tr><td>y", "</td></tr>"),
    ("<body>x", "<style>unclosed"),
    ("<body>x", "<!-- unclosed"),
    ("<body>x", '<a href="unclosed'),
    ("<body>x", "<plaintext>y</body>"),
    ("<body>x", "<select><option>y</body>"),
    ("<body>x", '<div style="display:none">y</body>'),
    ("<body>x", "<svg><g></body>"),
    ("<body>x", "<object>y</body>"),
    ("x", ""),
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("before", "after"), PLACES)
def test_the_pixel_stands_where_it_renders(before: str, after: str, encoding: str) -> None:
    out = delivered(html_message(before + after, encoding), clicks=False)
    (body,) = read(out).html
    found = re.search(rb"<img [^>]*>", body)
    assert found
    assert (body[: found.start()], body[found.end() :]) == (before.encode(), after.encode())


def test_a_page_of_frames_has_no_pixel() -> None:
    message = html_message(
        f'<html><frameset><frame src="x"></frameset><a href="{LINK}">x</a></html>'
    )
    assert delivered(message) == message


def test_the_pixel_is_in_the_first_html_part_alone() -> None:
    part = b"Content-Type: text/html\r\n\r\n<p>x</p>"
    reading = read(delivered(multipart("mixed", part, part)))
    assert [body.count(b"<img") for body in reading.html] == [1, 0]
    assert reading.pixels == 1
