"""Why each part and link of a message is tracked or not, in words.

Guarantees: every reason a plan can carry has a sentence here (a test walks them).
Leaves to others: the decisions (`plan.py`), and where the switches came from.
"""

import msgspec

from tracking.plan import Decision, Plan

# For messages and parts.
MESSAGE_RULES = {
    "no-html": "the message has no HTML part",
    "nothing-to-track": "nothing in the message can be tracked",
    "switched-off": "tracking is switched off",
    "bad-header": "a header cannot be read in one way only",
    "signed": "the message carries a DKIM or ARC signature that a change would break",
    "report": "delivery reports are never changed",
    "already-tracked": "the message already carries our links or pixel",
    "too-many-links": "the message has more links than the budget allows",
    "too-deep": "the message nests its parts deeper than the budget allows",
    "too-many-parts": "the message has more parts than the budget allows",
    "duplicate-content-type": "Content-Type is given twice",
    "duplicate-content-transfer-encoding": "Content-Transfer-Encoding is given twice",
    "duplicate-content-disposition": "Content-Disposition is given twice",
    "duplicate-mime-version": "MIME-Version is given twice",
    "duplicate-boundary": "a multipart names two boundaries",
    "duplicate-charset": "the part names two charsets",
    "attachment": "attachments are never changed",
    "has-filename": "a named file beside the text is an attachment to most readers",
    "in-signed": "a change would break the signature around the part",
    "in-encrypted": "the part is encrypted",
    "in-message": "forwarded messages are never changed",
    "unclosed": "the multipart around the part is never closed",
    "unknown-encoding": "the Content-Transfer-Encoding is not known",
    "qp-malformed": "the quoted-printable text is malformed",
    "base64-malformed": "the base64 text is malformed",
    "charset-unknown": "the charset is not known and the text is not plain ASCII",
    "charset-wide": "the charset does not contain ASCII",
    "charset-stateful": "the charset switches between alphabets",
    "charset-invalid": "the bytes are not valid in the part's charset",
    "nul": "the text contains NUL",
    "bare-line-end": "a line ends with CR or LF alone",
    "too-large": "the part is larger than the budget allows",
    "over-budget": "the HTML has more tags or links than the budget allows",
    "line-limit": "a line is longer than 998 octets already",
    "inline-pgp": "the text contains an OpenPGP block",
    "empty": "the part is empty",
}
LINK_RULES = {
    "empty": "the link is empty",
    "fragment": "the link stays on the page",
    "placeholder": "the link contains a merge tag",
    "protocol-relative": "the link has no scheme",
    "relative": "the link is relative",
    "scheme": "only http and https are tracked",
    "no-host": "the URL has no host",
    "bad-host": "the URL's host is not valid",
    "own-host": "the link leads to a tracking host of ours",
    "list-unsubscribe": "the same URL stands in List-Unsubscribe",
    "too-long": "the tracking URL would be longer than 2,048 characters",
    "query-charset": "what a browser would send depends on a charset it does not know",
    "excluded-by-sendgrid": "marked with clicktracking=off",
    "excluded-by-ses": "marked with ses:no-track",
    "excluded-by-mailgun": "marked with disable-tracking",
    "excluded-by-postmark": "marked with data-pm-no-track",
    "excluded-by-sparkpost": "marked with data-msys-clicktrack or data-msys-unsubscribe",
    "excluded-by-mandrill": "marked with mc:disable-tracking",
    "excluded-by-mautic": "marked with mautic:disable-tracking",
    "foreign": "the link belongs to an svg or math drawing",
    "template": "the link stands in a template",
    "select": "browsers drop links inside select",
    "frameset": "the page is made of frames",
}
_REWRITTEN = "rewritten"


class LinkStory(msgspec.Struct, frozen=True):
    """A link: its offset in the decoded part, its URL, and why it is as it is ("" rewritten)."""

    offset: int
    url: str
    rule: str
    because: str


class PartStory(msgspec.Struct, frozen=True):
    """A part with HTML or text: its path ("2.1"), type, why it was left ("" if read), its links."""

    path: str
    content_type: str
    rule: str
    because: str
    links: list[LinkStory]


class Story(msgspec.Struct, frozen=True):
    """A message: why nothing of it is tracked ("" if something is), the pixel, and its parts."""

    skipped: str
    because: str
    pixel: bool
    parts: list[PartStory]


def explain(plan: Plan) -> Story:
    """Tell a plan's decisions in words."""
    parts: list[PartStory] = []
    for decision in plan.decisions:
        if decision.offset < 0:
            because = sentence(decision.rule, MESSAGE_RULES)
            parts.append(PartStory(decision.part, decision.url, decision.rule, because, []))
        elif parts:
            parts[-1].links.append(_link(decision))
    return Story(plan.skipped, sentence(plan.skipped, MESSAGE_RULES), plan.has_pixel, parts)


def _link(decision: Decision) -> LinkStory:
    because = sentence(decision.rule, MESSAGE_RULES | LINK_RULES) or _REWRITTEN
    return LinkStory(decision.offset, decision.url, decision.rule, because)


def sentence(rule: str, rules: dict[str, str]) -> str:
    """Give the sentence of a rule; the rule itself for one without."""
    return rules.get(rule, rule)


def as_text(story: Story) -> str:
    """Write a story for a terminal: control characters of URLs are escaped."""
    lines = [f"message: {story.because}" if story.skipped else "message: tracked"]
    lines.append(f"pixel: {'yes' if story.pixel else 'no'}")
    for part in story.parts:
        state = f"left, {part.because}" if part.rule else "read"
        lines.append(f"part {part.path} ({_shown(part.content_type)}): {state}")
        for link in part.links:
            state = f"left, {link.because}" if link.rule else _REWRITTEN
            lines.append(f"  at {link.offset}: {_shown(link.url)}: {state}")
    return "\n".join(lines) + "\n"


def _shown(text: str, limit: int = 200) -> str:
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in cut)
