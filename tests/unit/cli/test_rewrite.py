"""`waypost rewrite`, `token` and `explain` as a person types them, without a running server."""

import email
import json
import re
from pathlib import Path

import pytest

from relay.cli.main import run_command
from tests.harness.tracked import decoded, html_message, multipart, page
from tracking.offline import BASE_URL

LINKS = [
    "https://h.test/a?x=1&y=2",
    "https://h.test/\u00e4?\u00e4=\u20ac",
    "https://b\u00fccher.test/",
]
HTML = page(
    "".join(f'<a href="{each}">x</a>' for each in LINKS)
    + '<a href="mailto:a@h.test">x</a><!--[if mso]><a href="https://h.test/o">x</a><![endif]-->'
)


@pytest.fixture
def mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAYPOST_NODE_DATA_DIR", str(tmp_path / "var"))
    path = tmp_path / "in.eml"
    path.write_bytes(html_message(HTML, "quoted-printable", "windows-1252"))
    return path


def found(path: Path) -> list[str]:
    """Give the tracked URLs of a written mail."""
    text = decoded(email.message_from_bytes(path.read_bytes())).decode("windows-1252")
    return re.findall(rf"{BASE_URL}/[co]/[\w-]+(?:\.gif)?", text)


def test_a_mail_is_rewritten_and_its_tokens_are_read(
    mail: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = mail.with_name("out.eml")
    assert run_command(["rewrite", str(mail), "-o", str(out), "--base-url", BASE_URL]) == 0
    urls = found(out)
    assert run_command(["token", *urls]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["kind"] for each in said] == ["click", "click", "click", "click", "open"]
    assert [each["destination"] for each in said] == [*LINKS, "https://h.test/o", ""]
    assert [each["link"] for each in said] == [0, 1, 2, 3, 0]
    assert run_command(["rewrite", str(out), "--base-url", BASE_URL, "-o", "again.eml"]) == 0
    assert mail.with_name("again.eml").read_bytes() == out.read_bytes()
    assert "already-tracked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("switches", "counts"),
    [(["--no-opens"], (4, 0)), (["--no-clicks"], (0, 1)), (["--no-outlook"], (3, 1))],
)
def test_switches(mail: Path, switches: list[str], counts: tuple[int, int]) -> None:
    command = ["rewrite", str(mail), "-o", "out.eml", "--base-url", BASE_URL, *switches]
    assert run_command(command) == 0
    urls = found(mail.with_name("out.eml"))
    assert (sum("/c/" in url for url in urls), sum("/o/" in url for url in urls)) == counts


def test_explain_names_each_link_and_its_rule(
    mail: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["explain", str(mail)]) == 0
    text = capsys.readouterr().out
    assert "mailto:a@h.test: left, only http and https are tracked" in text
    assert f"{LINKS[0]}: rewritten" in text
    assert run_command(["explain", "--json", str(mail)]) == 0
    (part,) = json.loads(capsys.readouterr().out)["parts"]
    assert [each["rule"] for each in part["links"]] == ["", "", "", "scheme", ""]


def test_explain_tells_why_a_part_is_left(mail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mail.write_bytes(multipart("signed", b"Content-Type: text/html\r\n\r\n<p>x</p>"))
    assert run_command(["explain", str(mail)]) == 0
    assert "a change would break the signature around the part" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["rewrite", "missing.eml"], "missing.eml: No such file"),
        (["rewrite", "in.eml", "-o", "no/out.eml"], "no/out.eml: No such file"),
        (["rewrite", "in.eml", "--base-url", "ftp://t.test"], "expected scheme and host"),
        (["rewrite", "in.eml", "--base-url", "https://t.test/"], "expected scheme and host"),
    ],
)
def test_what_was_wrong_is_said(
    mail: Path, capsys: pytest.CaptureFixture[str], command: list[str], said: str
) -> None:
    assert mail.exists()
    assert run_command(command) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["https://t.test/c/abc", "nonsense", "http://[", "", "/c/" + "A" * 80]
)
def test_what_is_no_token_of_ours_is_said(
    mail: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert mail.exists()
    assert run_command(["token", url]) == 1
    assert "not a token" in json.loads(capsys.readouterr().out)["error"]
