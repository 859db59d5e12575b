"""The JSON lines behind `waypost bounce read` and `waypost reply classify`."""

import io
import json
from pathlib import Path

from bounces.commands import classify_lines, read_files
from bounces.mbox import mails_in

MAILS = Path(__file__).parent / "mails"


def lines(out: io.BytesIO) -> list[dict[str, object]]:
    """Parse what was written, one object per line."""
    return [json.loads(line) for line in out.getvalue().split(b"\n") if line]


def test_bounce_read_prints_a_line_per_mail() -> None:
    """With the keys of the contract, in order."""
    out = io.BytesIO()
    names = [str(MAILS / "postfix-unknown.eml"), str(MAILS / "hidden-recipient.eml")]
    assert read_files(names, out) == 0
    bounce, silent = lines(out)
    assert bounce["file"] == names[0]
    assert bounce["kind"] == "bounce"
    records = bounce["records"]
    assert isinstance(records, list)
    record = records[0]
    expected = {
        "recipient": "ann@inbox.test",
        "category": "hard",
        "reason": "userunknown",
        "status": "5.1.1",
        "code": "550",
        "action": "failed",
        "feedback_type": "",
        "original_message_id": "n1@shop.test",
    }
    assert {key: record[key] for key in expected} == expected
    hidden = silent["records"]
    assert isinstance(hidden, list)
    assert hidden[0]["recipient"] is None


def test_standard_input_is_one_mail() -> None:
    """`-` reads it."""
    out = io.BytesIO()
    stdin = io.BytesIO((MAILS / "out-of-office.eml").read_bytes())
    assert read_files(["-"], out, stdin=stdin) == 0
    assert lines(out)[0]["kind"] == "autoreply"


def test_a_missing_file_is_a_line_and_a_status(tmp_path: Path) -> None:
    """The others are still read."""
    out = io.BytesIO()
    assert read_files([str(tmp_path / "none"), str(MAILS / "notes.eml")], out) == 1
    missing, read = lines(out)
    assert missing["kind"] == "other"
    assert missing["error"] == "No such file or directory"
    assert read["kind"] == "bounce"


def test_reply_classify_prints_a_line_per_reply() -> None:
    """In their order, blank lines too."""
    out = io.BytesIO()
    assert (
        classify_lines(["550 5.1.1 no such user\n", "\n", "421 too many connections\r\n"], out) == 0
    )
    first, blank, last = lines(out)
    wanted = {
        "reply": "550 5.1.1 no such user",
        "class": "user-unknown",
        "coarse": "recipient",
        "category": "hard",
        "delivery": "give-up",
        "recipient": "suppress",
        "destination": "ok",
    }
    assert {key: first[key] for key in wanted} == wanted
    assert (blank["reply"], blank["class"]) == ("", "other")
    assert (last["class"], last["delivery"], last["destination"]) == (
        "throttled",
        "next-host",
        "slow-down",
    )


def test_an_mbox_gives_a_line_for_each_mail(tmp_path: Path) -> None:
    """The second is named after the file; a sentence that begins with From is no separator."""
    head = b"From MAILER-DAEMON Sat Sep 20 04:19:18 2008\n"
    first = (
        MAILS / "postfix-unknown.eml"
    ).read_bytes() + b"\n\nFrom here on all is well.\n>From x\n"
    box = tmp_path / "box"
    for ends in (b"\n", b"\r\n"):
        second = head + (MAILS / "out-of-office.eml").read_bytes()
        box.write_bytes((head + first + b"\n" + second).replace(b"\n", ends))
        out = io.BytesIO()
        assert read_files([str(box)], out) == 0
        assert [(line["file"], line["kind"]) for line in lines(out)] == [
            (str(box), "bounce"),
            (f"{box}#2", "autoreply"),
        ]


def test_a_mail_is_no_mbox() -> None:
    """What does not begin with a separator is one mail, byte for byte."""
    mail = b"Subject: x\n\nFrom MAILER-DAEMON Sat Sep 20 04:19:18 2008\n\n>From y\n"
    assert list(mails_in(mail)) == [mail]
    assert list(mails_in(b"From nowhere\n\nx")) == [b"From nowhere\n\nx"]
    assert list(mails_in(b"")) == [b""]
