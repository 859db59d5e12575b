"""The page's languages: English as written in templates and widgets, and simplified Chinese.

Guarantees: every text that the page can say by itself is in `chinese.json` (held by a test), so
that no page is half in one language; names, reasons and replies that come from outside stay as they
came. Sentences of consequences come from control in English and are translated by their pattern.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

LANGUAGES = {"en": "English", "zh": "简体中文"}
"""Languages by code, each named in itself."""

MEASURES = {
    "requested": "Entered",
    "accepted": "Accepted",
    "excluded": "Excluded",
    "rejected": "Refused",
    "sent": "Sent",
    "delivered": "Delivered",
    "deferred_messages": "Deferred",
    "bounces": "Bounces",
    "bounced": "Bounces",  # of a message
    "hard_bounces": "Hard bounces",
    "soft_bounces": "Soft bounces",
    "bounced_hard": "Hard",
    "bounced_soft": "Soft",
    "bounced_ignored": "Ignored",
    "later_hard": "Hard, later",
    "later_soft": "Soft, later",
    "later_ignored": "Ignored, later",
    "failed": "Errors",
    "opens": "Opens, all",
    "opens_human": "Opens",
    "opened": "Opened, all",
    "opened_human": "Opened",
    "opening_recipients_human": "Opening users",
    "clicks": "Clicks, all",
    "clicks_human": "Clicks",
    "clicked": "Clicked, all",
    "clicked_human": "Clicked",
    "clicking_recipients_human": "Clicking users",
    "unsubscribed": "Unsubscribes",
    "complained": "Spam complaints",
    "delivery_rate": "Delivery rate",
    "bounce_rate": "Bounce rate",
    "open_rate": "Open rate",
    "click_rate": "Click rate",
    "unsubscribe_rate": "Unsubscribe rate",
    "complaint_rate": "Complaint rate",
    "delivery_p50_ms": "Delivery time, median",
    "delivery_p95_ms": "Delivery time, 95 %",
}
"""Measures as the page names them; hits without "all" are those of people."""

DIMENSIONS = {
    "account": "Account",
    "sending_domain": "Sending domain",
    "campaign": "Campaign",
    "template": "Template",
    "recipient_domain": "Recipient domain",
    "provider": "Provider",
    "tag": "Tag",
    "bounce_reason": "Reason",
    "error_reason": "Reason",
    "exclusion_reason": "Reason",
    "platform": "Platform",
    "nature": "By",
    "link": "Link",
}


class Chinese(msgspec.Struct, frozen=True):
    """The file of translations."""

    texts: dict[str, str]
    counted: dict[str, str]  # what follows "N domains" in a sentence of a consequence
    sentences: dict[str, str]


CHINESE = msgspec.json.decode(Path(__file__).with_name("chinese.json").read_bytes(), type=Chinese)
_COUNTED = re.compile(r"(\d+) domains? (.+)")


def translate(language: str, text: str) -> str:
    """Give a text of ours in a language; what is not ours comes back as it is."""
    return CHINESE.texts.get(text, text) if language == "zh" else text


def sentence(language: str, text: str) -> str:
    """Give a sentence of a consequence in a language."""
    if language != "zh":
        return text
    counted = _COUNTED.fullmatch(text)
    if counted and counted[2] in CHINESE.counted:
        return f"{counted[1]} 个域名{CHINESE.counted[counted[2]]}"
    return CHINESE.sentences.get(text, text)


def wanted(asked: str, kept: str, accepted: str) -> str:
    """Choose a language: as asked now, as asked before, or as the browser prefers."""
    for choice in (asked, kept):
        if choice in LANGUAGES:
            return choice
    ranked = []
    for part in accepted.split(",")[:20]:
        tag, _, weight = part.strip().lower().partition(";q=")
        try:
            ranked.append((float(weight or 1), tag.partition("-")[0]))
        except ValueError:
            continue
    ranked.sort(key=lambda one: -one[0])
    return next((tag for _, tag in ranked if tag in LANGUAGES), "en")
