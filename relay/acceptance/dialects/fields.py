"""The table: which field of which provider means what. Facts from the providers' documentation.

A field in the table is recognised: it is removed before delivery whether it was applied or not.
Fields whose meaning has no counterpart here are listed with `_ignored`, and the sender is told.
Names that are too general to be anybody's (`X-Job`, `X-Campaign`) are read and removed only under
their own dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.acceptance.dialects import structured
from relay.acceptance.options import Options

Reader = Callable[[Options, str, str, int, int], None]
"""Applies a value: options, the field's name, the value, now and the furthest schedule (µs)."""


def _tag(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    options.add_tag(name, value)


def _tags(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    for tag in value.split(","):
        if tag.strip():
            options.add_tag(name, tag.strip())


def _campaign(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    options.set_campaign(name, value)


def _opens(options: Options, _name: str, value: str, _now: int, _furthest: int) -> None:
    if value.lower() != "account_default":
        options.track_opens(value)


def _clicks(options: Options, _name: str, value: str, _now: int, _furthest: int) -> None:
    if value.lower() != "account_default":
        options.track_clicks(value)


def _both(options: Options, _name: str, value: str, _now: int, _furthest: int) -> None:
    options.track_opens(value)
    options.track_clicks(value)


def _no_tracking(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    """Postal's `X-AMP: skip`: no tracking at all for this message."""
    if value.lower() == "skip":
        options.track_opens("off")
        options.track_clicks("off")
    else:
        options.ignore(name)


def _tracked_links(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    """Postmark's X-PM-TrackLinks."""
    meaning = {"none": "off", "htmlandtext": "all", "htmlonly": "html", "textonly": "text"}
    if value.lower() in meaning:
        options.track_clicks(meaning[value.lower()])
    else:
        options.track_clicks("off")
        options.ignore(name, "None, HtmlAndText, HtmlOnly or TextOnly is expected")


def _mandrill_track(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    words = {word.strip().lower() for word in value.split(",")}
    clicks = {
        "clicks": "html",
        "clicks_all": "all",
        "clicks_htmlonly": "html",
        "clicks_textonly": "text",
    }
    options.track_opens("on" if "opens" in words else "off")
    found = [clicks[word] for word in sorted(words) if word in clicks]
    options.track_clicks(found[0] if found else "off")
    for word in sorted(words - {"opens", "none", ""} - set(clicks)):
        options.ignore(name, f"{word[:40]!r} is not known")


def _test_mode(options: Options, _name: str, value: str, _now: int, _furthest: int) -> None:
    options.sandbox = options.sandbox or value.lower() in ("yes", "true", "1")


def _schedule(options: Options, name: str, value: str, now: int, furthest: int) -> None:
    options.schedule(name, value, now, furthest)


def _custom_id(options: Options, name: str, value: str, _now: int, _furthest: int) -> None:
    options.put(name, name.lower().rpartition("-")[2], value)


def _ignored(options: Options, name: str, _value: str, _now: int, _furthest: int) -> None:
    options.ignore(name)


def _all(reader: Reader, *names: str) -> dict[str, Reader]:
    return dict.fromkeys(names, reader)


FIELDS: Mapping[str, Mapping[str, Reader]] = {
    "mailgun": {
        "x-mailgun-tag": _tag,
        "x-mailgun-track": _both,
        "x-mailgun-track-clicks": _clicks,
        "x-mailgun-track-opens": _opens,
        "x-mailgun-deliver-by": _schedule,
        "x-mailgun-drop-message": _test_mode,
        "x-mailgun-variables": structured.metadata,
        **_all(
            _ignored,
            "x-mailgun-dkim",
            "x-mailgun-sending-ip",
            "x-mailgun-sending-ip-pool",
            "x-mailgun-require-tls",
            "x-mailgun-skip-verification",
            "x-mailgun-recipient-variables",
            "x-mailgun-template-variables",
            "x-mailgun-delivery-time-optimize-period",
            "x-mailgun-time-zone-localize",
        ),
    },
    "sendgrid": {"x-smtpapi": structured.sendgrid},
    "sparkpost": {"x-msys-api": structured.sparkpost},
    "postmark": {
        "x-pm-tag": _tag,
        "x-pm-trackopens": _opens,
        "x-pm-tracklinks": _tracked_links,
        **_all(_ignored, "x-pm-message-stream", "x-pm-keepid"),
    },
    "ses": {
        "x-ses-message-tags": structured.ses_tags,
        **_all(
            _ignored,
            "x-ses-configuration-set",
            "x-ses-list-management-options",
            "x-ses-source-arn",
            "x-ses-from-arn",
            "x-ses-return-path-arn",
        ),
    },
    "mandrill": {
        "x-mc-tags": _tags,
        "x-mc-track": _mandrill_track,
        "x-mc-metadata": structured.metadata,
        "x-mc-sendat": _schedule,
        **_all(
            _ignored,
            "x-mc-mergevars",
            "x-mc-mergelanguage",
            "x-mc-template",
            "x-mc-googleanalytics",
            "x-mc-googleanalyticscampaign",
            "x-mc-urlstripqs",
            "x-mc-trackingdomain",
            "x-mc-signingdomain",
            "x-mc-returnpathdomain",
            "x-mc-subaccount",
            "x-mc-ippool",
            "x-mc-important",
            "x-mc-preserverecipients",
            "x-mc-inlinecss",
            "x-mc-autotext",
            "x-mc-autohtml",
            "x-mc-viewcontentlink",
            "x-mc-bccaddress",
        ),
    },
    "brevo": {"x-mailin-tag": _tag, "x-mailin-custom": structured.metadata_or_text},
    "mailjet": {
        "x-mj-customid": _custom_id,
        "x-mj-eventpayload": _custom_id,
        "x-mailjet-trackopen": _opens,
        "x-mailjet-trackclick": _clicks,
        "x-mailjet-campaign": _campaign,
        **_all(
            _ignored,
            "x-mailjet-deduplicatecampaign",
            "x-mailjet-prio",
            "x-mj-templateid",
            "x-mj-templatelanguage",
            "x-mj-templateerrorreporting",
            "x-mj-templateerrordeliver",
            "x-mj-vars",
        ),
    },
    "postal": {"x-postal-tag": _tag, "x-amp": _no_tracking},
    "alidm": {"x-alidm-trace": structured.alidm},
    "kumomta": {"x-tenant": _ignored, "x-campaign": _campaign, "x-schedule": structured.kumomta},
    "zonemta": _all(_ignored, "x-sending-zone", "x-fbl"),
    "powermta": {"x-job": _campaign, "x-envid": _custom_id, "x-virtualmta": _ignored},
    "smtpeter": {
        "x-smtpeter-trackclicks": _clicks,
        "x-smtpeter-trackopens": _opens,
        "x-smtpeter-tags": _tags,
        **_all(
            _ignored,
            "x-smtpeter-trackbounces",
            "x-smtpeter-preventscam",
            "x-smtpeter-inlinecss",
        ),
    },
    "campaignmonitor": {
        "x-cmail-groupname": _campaign,
        "x-cmail-trackopens": _opens,
        "x-cmail-trackclicks": _clicks,
        "x-cmail-inlinecss": _ignored,
    },
    "sendmachine": {"x-sm-campaign": _campaign, "x-sm-tag": _tag},
    "unosend": {"x-unosend-track-opens": _opens, "x-unosend-track-clicks": _clicks},
}

PREFIXES: Mapping[str, str] = {"postmark": "x-pm-metadata-"}
"""Dialects with fields whose names end in a key of metadata."""

GENERAL = frozenset({"x-amp", "x-tenant", "x-campaign", "x-schedule", "x-job", "x-envid", "x-fbl"})
"""Names that also others use: removed only under their own dialect."""
