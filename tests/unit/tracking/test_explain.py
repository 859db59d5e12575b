"""Every decision has a sentence, and text from the mail cannot harm a terminal."""

import inspect
import re

import relay.mail.mime
import tracking.parts
import tracking.placement
import tracking.plan
import tracking.urls
from tests.harness.tracked import HEAD, html_message, page, plan_of
from tracking.explain import LINK_RULES, MESSAGE_RULES, as_text, explain

MIXED = (
    HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
    b"Content-Type: text/html\r\n\r\n"
    b"<a href='https://h.test/'>x</a><a href='mailto:a@b.test'>y</a>\r\n--b\r\n"
    b"Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\nz\r\n--b--\r\n"
)


def test_parts_and_links_are_told_in_order() -> None:
    story = explain(plan_of(MIXED))
    assert story.skipped == ""
    assert story.pixel
    assert [(part.path, part.rule) for part in story.parts] == [("1", ""), ("2", "attachment")]
    assert [(link.url, link.rule, link.because) for link in story.parts[0].links] == [
        ("https://h.test/", "", "rewritten"),
        ("mailto:a@b.test", "scheme", "only http and https are tracked"),
    ]


def test_the_text_says_it_all() -> None:
    assert as_text(explain(plan_of(MIXED))) == (
        "message: tracked\n"
        "pixel: yes\n"
        "part 1 (text/html): read\n"
        "  at 9: https://h.test/: rewritten\n"
        "  at 40: mailto:a@b.test: left, only http and https are tracked\n"
        "part 2 (text/html): left, attachments are never changed\n"
    )


def test_a_skipped_message_says_why() -> None:
    story = explain(plan_of(HEAD + b"\r\ntext"))
    assert as_text(story) == "message: the message has no HTML part\npixel: no\n"


def test_control_characters_are_shown_not_sent() -> None:
    text = as_text(explain(plan_of(html_message(page("<a href='x&#27;]0;evil&#7;x'>x</a>")))))
    assert "\x1b" not in text
    assert "\\x1b]0;evil\\x07x" in text


def test_long_urls_are_cut() -> None:
    text = as_text(explain(plan_of(html_message(page(f"<a href='{'x' * 900}'>x</a>")))))
    assert max(map(len, text.splitlines())) < 260


def documented(what: str) -> set[str]:
    """Give the reason codes that the plan's docstring lists for messages, parts or links."""
    text = (tracking.plan.__doc__ or "").partition(f"Reasons for a {what}: ")[2]
    listed = re.split(r"[;.]", text.partition("Reasons")[0])[0]
    return set(re.findall(r"[a-zA-Z0-9-]+[a-zA-Z*]", listed))


def expanded(codes: set[str]) -> set[str]:
    out = codes - {"duplicate-*", "excluded-by-VENDOR"}
    if "duplicate-*" in codes:
        out |= {code for code in MESSAGE_RULES if code.startswith("duplicate-")}
    if "excluded-by-VENDOR" in codes:
        out |= {code for code in LINK_RULES if code.startswith("excluded-by-")}
    return out


def test_every_documented_reason_has_a_sentence_and_the_other_way_round() -> None:
    assert expanded(documented("message") | documented("part")) == set(MESSAGE_RULES)
    assert expanded(documented("link")) == set(LINK_RULES)


def test_every_reason_the_code_gives_is_documented() -> None:
    given = re.compile(r'(?:return |Plan\(|reason = )"([a-z-]+)"')
    for module in (tracking.plan, tracking.parts, tracking.urls, tracking.placement):
        for code in given.findall(inspect.getsource(module)):
            assert code in set(MESSAGE_RULES) | set(LINK_RULES), code


def test_every_defect_that_leaves_a_message_has_a_sentence() -> None:
    source = inspect.getsource(relay.mail.mime)
    for code in re.findall(r'"(duplicate-[a-z-]+|too-(?:deep|many-parts))"', source):
        assert code in MESSAGE_RULES
