"""Which client and system made a hit, from its user agent (the only door to ua-parser).

Guarantees: any text gets an answer, never an exception; the answer is short, of a closed shape,
and cached, since the same few hundred agents make nearly all hits.
Leaves to others: whether a person was behind it (`machines.py`).
"""

from functools import lru_cache
from typing import NamedTuple

from ua_parser import parse as parse_agent

MAX_AGENT = 512
MAX_NAME = 40


class Platform(NamedTuple):
    """What a hit came from: "Thunderbird", "Linux", "desktop"; "" where the agent does not say.

    `device` is one of desktop, phone, tablet, proxy or "".
    """

    client: str
    system: str
    device: str


_PROXIES = {
    "googleimageproxy": Platform("Gmail", "", "proxy"),
    "yahoomailproxy": Platform("Yahoo Mail", "", "proxy"),
}
_DESKTOP = frozenset(["Windows", "Mac OS X", "Linux", "Ubuntu", "Chrome OS", "Fedora", "Debian"])


@lru_cache(maxsize=4096)
def read(user_agent: str) -> Platform:
    """Read a user agent; only its first 512 characters count."""
    text = user_agent[:MAX_AGENT]
    lowered = text.lower()
    for mark, platform in _PROXIES.items():
        if mark in lowered:
            return platform
    if text == "Mozilla/5.0":
        return Platform("Apple Mail", "", "proxy")  # privacy prefetch says no more
    found = parse_agent(text)
    system = found.os.family if found.os else ""
    client = found.user_agent.family if found.user_agent else ""
    model = found.device.family if found.device else ""
    return Platform(client[:MAX_NAME], system[:MAX_NAME], _device(lowered, system, model))


def _device(lowered: str, system: str, model: str) -> str:
    if "ipad" in lowered or "tablet" in lowered or model == "iPad":
        return "tablet"
    if system in ("iOS", "Android") or "mobile" in lowered:
        return "tablet" if system == "Android" and "mobile" not in lowered else "phone"
    return "desktop" if system in _DESKTOP else ""
