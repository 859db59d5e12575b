"""Every provider's control headers, from the form its documentation gives, mapped to one model."""

from __future__ import annotations

import base64

import pytest

from relay.acceptance.dialects.fields import FIELDS
from relay.acceptance.dialects.reading import DIALECTS, read_options
from relay.acceptance.options import Options
from relay.clock import HOUR
from relay.errors import RefusedError
from relay.mail.header import remove, split

NOW = 1_795_000_000_000_000  # 2026-11-18
REST = b"From: a@shop.test\r\nX-Mailer: app\r\n\r\nhello\r\n"


def asked(dialect: str, *fields: str) -> Options:
    """Read fields, and see that taking them out leaves the rest as it was."""
    message = "".join(f"{field}\r\n" for field in fields).encode() + REST
    options = read_options(split(message), dialect, NOW)
    assert remove(message, options.strip) == REST
    return options


def test_mailgun() -> None:
    options = asked(
        "mailgun",
        "X-Mailgun-Tag: newsletter",
        "X-Mailgun-Tag: autumn",
        "X-Mailgun-Track: yes",
        "X-Mailgun-Track-Clicks: htmlonly",
        'X-Mailgun-Variables: {"first": 1,\r\n "second": "two"}',
        "X-Mailgun-Deliver-By: Wed, 18 Nov 2026 23:00:00 +0000",
        "X-Mailgun-Dkim: no",
    )
    assert options.tags == ["newsletter", "autumn"]
    assert (options.opens, options.clicks, options.text_links) == (True, True, False)
    assert options.metadata == {"first": "1", "second": "two"}
    assert options.not_before == 1_795_042_800_000_000
    assert options.notes == ["X-Mailgun-Dkim: not supported here"]


def test_sendgrid() -> None:
    options = asked(
        "sendgrid",
        'X-SMTPAPI: {"category": ["orders", "vip"], "unique_args": {"order": "77"},\r\n'
        ' "send_at": 1795003600, "filters": {"clicktrack": {"settings": {"enable": 1,'
        ' "enable_text": 0}}, "opentrack": {"settings": {"enable": 0}},'
        ' "footer": {"settings": {"enable": 1}}}, "sub": {"-name-": ["A"]}}',
    )
    assert options.tags == ["orders", "vip"]
    assert options.metadata == {"order": "77"}
    assert options.not_before == NOW + HOUR
    assert (options.opens, options.clicks, options.text_links) == (False, True, False)
    assert options.notes == [
        "X-SMTPAPI: filters.footer: not supported here",
        "X-SMTPAPI: sub: not supported here",
    ]


def test_sparkpost() -> None:
    options = asked(
        "sparkpost",
        'X-MSYS-API: {"campaign_id": "autumn", "metadata": {"has_pets": true},'
        ' "tags": ["cat"], "options": {"open_tracking": false, "click_tracking": true,'
        ' "sandbox": true, "ip_pool": "a"}}',
    )
    assert (options.campaign, options.tags, options.metadata) == (
        "autumn", ["cat"], {"has_pets": "true"},
    )  # fmt: skip
    assert (options.opens, options.clicks, options.sandbox) == (False, True, True)
    assert options.notes == ["X-MSYS-API: options.ip_pool: not supported here"]


def test_postmark() -> None:
    options = asked(
        "postmark",
        "X-PM-Tag: welcome",
        "X-PM-TrackOpens: true",
        "X-PM-TrackLinks: HtmlOnly",
        "X-PM-Metadata-client-id: 12345",
        "X-PM-Message-Stream: outbound",
    )
    assert (options.tags, options.metadata) == (["welcome"], {"client-id": "12345"})
    assert (options.opens, options.clicks, options.text_links) == (True, True, False)


def test_amazon() -> None:
    options = asked(
        "ses",
        "X-SES-MESSAGE-TAGS: campaign=book, type=promo",
        "X-SES-CONFIGURATION-SET: default",
    )
    assert options.metadata == {"campaign": "book", "type": "promo"}


def test_mandrill() -> None:
    options = asked(
        "mandrill",
        "X-MC-Tags: a,b",
        "X-MC-Track: opens, clicks_htmlonly",
        'X-MC-Metadata: {"user": 4}',
        "X-MC-SendAt: 2026-11-18 23:00:00",
    )
    assert (options.tags, options.metadata) == (["a", "b"], {"user": "4"})
    assert (options.opens, options.clicks) == (True, True)
    assert options.not_before == 1_795_042_800_000_000
    none = asked("mandrill", "X-MC-Track: none")
    assert (none.opens, none.clicks) == (False, False)


def test_postal() -> None:
    options = asked("postal", "X-Postal-Tag: reset", "X-AMP: skip")
    assert (options.tags, options.opens, options.clicks) == (["reset"], False, False)


def test_the_others() -> None:
    trace = base64.b64encode(b'{"OpenTrace":"1","LinkTrace":"0","TagName":"Test"}').decode()
    options = asked("alidm", f"X-AliDM-Trace: {trace}")
    assert (options.opens, options.clicks, options.tags) == (True, False, ["Test"])
    options = asked("brevo", "X-Mailin-Tag: one", "X-Mailin-custom: free text")
    assert (options.tags, options.metadata) == (["one"], {"custom": "free text"})
    options = asked(
        "mailjet", "X-MJ-CustomID: 9", "X-Mailjet-TrackClick: disabled",
        "X-Mailjet-TrackOpen: account_default", "X-Mailjet-Campaign: c",
    )  # fmt: skip
    assert (options.metadata, options.campaign) == ({"customid": "9"}, "c")
    assert (options.opens, options.clicks) == (None, False)
    assert asked("powermta", "X-Job: j1").campaign == "j1"
    kumo = asked("kumomta", 'X-Schedule: {"first_attempt": "2026-11-18T23:00:00Z"}')
    assert kumo.not_before == 1_795_042_800_000_000
    assert asked("campaignmonitor", "X-CMail-GroupName: g").campaign == "g"
    assert asked("smtpeter", "x-smtpeter-trackopens: no").opens is False
    assert asked("unosend", "X-Unosend-Track-Opens: 1").opens is True
    assert asked("sendmachine", "X-SM-Campaign: s").campaign == "s"


def test_ours_wins_over_the_dialect_in_any_order() -> None:
    for fields in (
        ("X-Mailgun-Track: yes", "X-Waypost-Track: off", "X-Waypost-Campaign: ours"),
        ("X-Waypost-Campaign: ours", "X-Waypost-Track: off", "X-Mailgun-Track: yes"),
    ):
        options = asked("mailgun", *fields)
        assert (options.opens, options.clicks, options.campaign) == (False, False, "ours")


def test_another_dialect_is_removed_and_noted_but_never_applied() -> None:
    options = asked("mailgun", "X-PM-Tag: x", "X-PM-Metadata-k: v", "X-SMTPAPI: {}")
    assert (options.tags, options.metadata) == ([], {})
    assert len(options.notes) == 3
    assert "speaks mailgun, not postmark" in options.notes[0]


def test_general_names_stay_where_nobody_claims_them() -> None:
    message = b"X-Job: 5\r\nX-Campaign: c\r\n" + REST
    options = read_options(split(message), "waypost", NOW)
    assert options.strip == []
    assert options.campaign == ""


@pytest.mark.parametrize("dialect", ["sendgrid", "sparkpost", "alidm"])
def test_what_cannot_be_read_leaves_the_message_untracked(dialect: str) -> None:
    (name,) = FIELDS[dialect]
    for value in ("{nonsense", "[" * 2000, "5", ""):
        options = asked(dialect, f"{name}: {value}")
        assert (options.opens, options.clicks) == (False, False)
        assert "the message is not tracked" in options.notes[0]


@pytest.mark.parametrize(
    ("fields", "opens"),
    [
        (("X-Waypost-Track-Opens: on", "X-Waypost-Track-Opens: off"), False),
        (("X-Waypost-Track-Opens: off", "X-Waypost-Track-Opens: on"), False),
        (("X-Waypost-Track-Opens: off\r\n on",), False),
        (("X-Waypost-Track-Opens: ON",), True),
        (("X-Waypost-Track-Opens: maybe",), False),
        ((), None),
    ],
)
def test_the_most_restrictive_value_holds(fields: tuple[str, ...], *, opens: bool | None) -> None:
    assert asked("waypost", *fields).opens is opens


@pytest.mark.parametrize("value", ["2026-11-18", "2026-11-18T07:06:40Z", "1795000000"])
def test_schedules_are_read(value: str) -> None:
    assert asked("waypost", f"X-Waypost-Schedule: {value}").not_before > 0


@pytest.mark.parametrize("value", ["tomorrow", "", "9999999999999", "2026-13-01", "2027-12-01"])
def test_a_schedule_that_cannot_be_kept_is_refused(value: str) -> None:
    with pytest.raises(RefusedError, match=r"X-Waypost-Schedule"):
        asked("waypost", f"X-Waypost-Schedule: {value}")


def test_bounds_hold() -> None:
    many = [f"X-Waypost-Tag: t{number}" for number in range(50)]
    options = asked("waypost", *many, "X-Waypost-Campaign: " + "x" * 129)
    assert len(options.tags) == 10
    assert options.campaign == ""
    huge = asked("waypost", *(f"X-Waypost-Metadata-k{n}: {'v' * 900}" for n in range(20)))
    assert sum(len(k) + len(v) for k, v in huge.metadata.items()) <= 10_000


def test_every_dialect_has_a_name_a_credential_can_carry() -> None:
    from relay.control.operations.credentials import Dialect

    assert set(DIALECTS) == set(Dialect.__args__)  # type: ignore[attr-defined]
