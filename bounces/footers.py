"""What stands below or around a notice and says nothing about it: signatures, legal notes, adverts.

Guarantees: linear in the text; never takes everything away. A gateway that appends "this mail was
scanned for viruses" must not turn an unknown user into a virus, and the address it gives for help
is nobody's recipient. Leaves to others: where the returned copy begins (`bounces.returned`).
"""

from __future__ import annotations

import re
from typing import Final

MAX_SIGNATURE: Final = 3000
MAX_GREETING: Final = 600  # a greeting further from the end is none
MAX_SHORT: Final = 80  # a paragraph as short as this with an address in it may name who failed
MIN_NOTICE: Final = 30  # characters in front of a signature; with fewer it is no signature

_SIGNATURE = re.compile(r"^-- ?$", re.MULTILINE)
_GREETING = re.compile(
    r"^[ \t]*(?:(?:best |kind |warm )?regards|sincerely(?: yours)?|yours (?:sincerely|truly)"
    r"|thank you|thanks|mit freundlichen gr.{2,5}|cordialement|saludos|atentamente|cordiali saluti)"
    r"[ \t]*[,.!]?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_ASIDE = re.compile(
    r"confidential|privileged|disclaimer|legally|copyright"
    r"|(?:not|than) (?:the|an?) intended recipient"
    r"|(?:scanned|checked|screened|protected|filtered|cleaned) (?:for|by|with|against|as)\b"
    r"|virus(?:es)?[- ](?:free|scan|check)|(?:no|free (?:of|from)) (?:known )?viruses|anti-?virus"
    r"|think before you print|consider the environment|vertraulich|viren gepr|virenfrei"
    r"|confidentiel|confidencial|riservat|unsubscribe from this",
    re.IGNORECASE,
)
_STEMS: Final = (  # one of these is in whatever the expression takes; finding them costs nothing
    "confiden", "privileged", "disclaimer", "legally", "copyright", "intended", "scanned",
    "checked", "screened", "protected", "filtered", "cleaned", "virus", "viren",
    "vertraulich", "riservat", "think before", "environment", "unsubscribe",
)  # fmt: skip
_FAILURE = re.compile(
    r"\b[45]\d\d[ -]|\b[45]\.\d\.\d|unknown|undeliver|not (?:be )?deliver|not exist|rejected"
    r"|refused|quota",
    re.IGNORECASE,
)


def without_footers(notice: str) -> str:
    """Take off a signature at the end, and paragraphs that only lawyers and scanners write."""
    cut = _before_signature(notice)
    lowered = cut.lower()
    if not any(stem in lowered for stem in _STEMS):
        return cut
    kept = [p for p in _PARAGRAPH.split(cut) if not _is_aside(p)]
    return "\n\n".join(kept) if any(p.strip() for p in kept) else cut


def _before_signature(notice: str) -> str:
    last = None
    for found in _SIGNATURE.finditer(notice):
        last = found
    for found in _GREETING.finditer(notice, max(0, len(notice) - MAX_GREETING)):
        last = last or found
    if last is None or len(notice) - last.end() > MAX_SIGNATURE:
        return notice
    before = notice[: last.start()]
    return before if len(before.strip()) >= MIN_NOTICE else notice


def _is_aside(paragraph: str) -> bool:
    """Tell a paragraph that speaks of scanners or lawyers, and of no failed delivery."""
    if "@" in paragraph and len(paragraph) < MAX_SHORT:
        return False
    return _ASIDE.search(paragraph) is not None and not _FAILURE.search(paragraph)
