"""People and machines that hit links, with known truth: the players of `simulate_hits.py`.

Timings and user agents are the published ones (836 scanner bursts: when a burst begins, how long
after the scanner's open, all links within a second). A share of players is made to be hard on
purpose: people in a hurry, without images, behind isolation; scanners that take their time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from metrics.events import Event, Hit, Kind
from metrics.hits import Nature
from relay.clock import SECOND

START = 1_790_000_000 * SECOND
LINKS = 9

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)
APPLE = "Mozilla/5.0"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
PRESCAN = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
YAHOO = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
NAMED = (
    "Barracuda Sentinel (EE)",
    "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
    "Mimecast-URL-Protect/1.0",
    "Cisco-IronPort-Scanner/1.0",
)
# Mail filters of Microsoft, Barracuda, Proofpoint and Mimecast whose ranges are published.
FILTERS = ("40.107.218.", "104.47.17.", "209.222.82.", "67.231.152.", "205.139.110.")
# When a scanner's burst begins after sending, in seconds, with its share (published).
BURSTS = ((0.005, 3, 10), (0.022, 10, 20), (0.664, 20, 60), (0.283, 60, 300), (0.026, 300, 1800))


@dataclass(slots=True)
class Scene:
    """One delivery's hits; times in seconds after it was delivered."""

    dice: random.Random
    delivery: int
    hits: list[Event] = field(default_factory=list)

    def visitor(self) -> tuple[str, str]:
        """Give a browser and an address of its own."""
        dice = self.dice
        address = f"198.51.{dice.randrange(256)}.{dice.randrange(1, 255)}"
        return dice.choice(BROWSERS), address

    def hit(
        self,
        truth: Nature,
        player: str,
        after: float,
        visitor: tuple[str, str],
        link: int = 0,
        method: str = "GET",
    ) -> None:
        """Add an open (link 0) or a click."""
        agent, address = visitor
        url = f"https://shop.test/{link}" if link else ""
        self.hits.append(
            Event(
                kind=Kind.CLICKED if link else Kind.OPENED,
                at=START + round(after * SECOND),
                delivery=self.delivery,
                account=1,
                metadata={"truth": truth.label, "player": player},
                hit=Hit(method=method, user_agent=agent, address=address, link=link, url=url),
            )
        )


def reader(scene: Scene) -> None:
    """Open after minutes or hours, read, follow a link or two."""
    _reads(scene, "person", scene.visitor())


def hurried(scene: Scene) -> None:
    """Open three links in tabs, one right after the other: hard to tell from a machine."""
    who, at = scene.visitor(), scene.dice.uniform(60, 7200)
    scene.hit(Nature.HUMAN, "person in a hurry", at, who)
    for link in scene.dice.sample(range(1, LINKS + 1), 3):
        at += scene.dice.uniform(0.5, 2.5)
        scene.hit(Nature.HUMAN, "person in a hurry", at, who, link)


def at_gmail(scene: Scene) -> None:
    """Looked at by Gmail on arrival, opened through its proxy, links by the person's browser."""
    scene.hit(
        Nature.PREFETCH, "gmail on arrival", scene.dice.uniform(0.3, 3), (PRESCAN, "66.249.84.1")
    )
    at = scene.dice.uniform(30, 86_400)
    scene.hit(Nature.PROXY, "gmail proxy", at, (GMAIL, "66.249.84.7"))
    _clicks(scene, "person at gmail", scene.visitor(), at)


def at_yahoo(scene: Scene) -> None:
    """Opened through Yahoo's proxy."""
    at = scene.dice.uniform(30, 86_400)
    scene.hit(Nature.PROXY, "yahoo proxy", at, (YAHOO, "74.6.1.1"))
    _clicks(scene, "person at yahoo", scene.visitor(), at)


def at_apple(scene: Scene) -> None:
    """Fetched by Mail Privacy Protection whenever the phone has power; some read it too."""
    scene.hit(
        Nature.PREFETCH, "apple privacy", scene.dice.uniform(5, 14_400), (APPLE, "104.28.1.1")
    )
    if scene.dice.random() < 0.3:
        _clicks(scene, "person at apple", scene.visitor(), scene.dice.uniform(600, 86_400))


def named_scanner(scene: Scene) -> None:
    """A scanner that says what it is."""
    who = (scene.dice.choice(NAMED), "203.0.113.9")
    _burst(scene, "scanner with a name", who, _begin(scene.dice))


def browser_scanner(scene: Scene) -> None:
    """A scanner that looks like a browser (Microsoft and others): open, then all links at once."""
    _burst(scene, "scanner like a browser", scene.visitor(), _begin(scene.dice))


def head_scanner(scene: Scene) -> None:
    """A scanner that asks for the head first."""
    who, at = scene.visitor(), _begin(scene.dice)
    link = scene.dice.randint(1, LINKS)
    scene.hit(Nature.SCANNER, "scanner with HEAD", at, who, link, "HEAD")
    scene.hit(Nature.SCANNER, "scanner with HEAD", at + 0.3, who, link)


def slow_scanner(scene: Scene) -> None:
    """A scanner that takes minutes for its links and loads no picture, from several addresses."""
    at = _begin(scene.dice)
    visitors = [scene.visitor() for _ in range(3)]
    for link in scene.dice.sample(range(1, LINKS + 1), LINKS):
        scene.hit(Nature.SCANNER, "slow scanner", at, scene.dice.choice(visitors), link)
        at += scene.dice.uniform(10, 35)


def walking_scanner(scene: Scene) -> None:
    """A scanner that loads the picture and takes one link after the other in minutes."""
    who, at = scene.visitor(), _begin(scene.dice)
    scene.hit(Nature.SCANNER, "walking scanner", at, who)
    for link in range(1, LINKS + 1):
        at += scene.dice.uniform(10, 35)
        scene.hit(Nature.SCANNER, "walking scanner", at, who, link)


def sampling_scanner(scene: Scene) -> None:
    """A scanner that loads the picture and looks at some links in any order, as people do: the
    rules are known to miss it.
    """
    who, at = scene.visitor(), _begin(scene.dice)
    scene.hit(Nature.SCANNER, "sampling scanner", at, who)
    for link in scene.dice.sample(range(1, LINKS + 1), 4):
        at += scene.dice.uniform(10, 35)
        scene.hit(Nature.SCANNER, "sampling scanner", at, who, link)


def filter_scanner(scene: Scene) -> None:
    """A scanner that looks like a browser and works slowly from its vendor's mail filter."""
    agent, _ = scene.visitor()
    address = scene.dice.choice(FILTERS) + str(scene.dice.randrange(1, 255))
    at = _begin(scene.dice)
    for link in scene.dice.sample(range(1, LINKS + 1), 2):
        scene.hit(Nature.SCANNER, "scanner from a filter", at, (agent, address), link)
        at += scene.dice.uniform(10, 200)


def isolated(scene: Scene) -> None:
    """A person whose company shows links through the cloud of its mail filter."""
    at = scene.dice.uniform(2000, 86_400)
    who = (BROWSERS[0], f"148.163.130.{scene.dice.randrange(1, 255)}")
    scene.hit(Nature.HUMAN, "person behind isolation", at, who, scene.dice.randint(1, LINKS))


def without_images(scene: Scene) -> None:
    """A person whose mail reader loads no images: links only, one to three, in minutes."""
    who, at = scene.visitor(), scene.dice.uniform(60, 86_400)
    for link in scene.dice.sample(range(1, LINKS + 1), scene.dice.randint(1, 3)):
        scene.hit(Nature.HUMAN, "person without images", at, who, link)
        at += scene.dice.expovariate(1 / 25) + 2


def digest_reader(scene: Scene) -> None:
    """A person who opens five links of a digest from top to bottom, leaving out what is dull."""
    who, at = scene.visitor(), scene.dice.uniform(60, 86_400)
    scene.hit(Nature.HUMAN, "reader of a digest", at, who)
    for link in sorted(scene.dice.sample(range(1, LINKS + 1), 5)):
        at += scene.dice.uniform(4, 40)
        scene.hit(Nature.HUMAN, "reader of a digest", at, who, link)


def second_looker(scene: Scene) -> None:
    """A scanner that visits a person's link again, from another network and system."""
    who, at = scene.visitor(), scene.dice.uniform(60, 86_400)
    scene.hit(Nature.HUMAN, "person with a follower", at, who)
    at += scene.dice.uniform(5, 60)
    link = scene.dice.randint(1, LINKS)
    scene.hit(Nature.HUMAN, "person with a follower", at, who, link)
    agent = next(each for each in BROWSERS if each != who[0])
    follower = (agent, f"203.0.113.{scene.dice.randrange(1, 255)}")
    later = at + scene.dice.uniform(8, 14)
    scene.hit(Nature.SCANNER, "follower of a person", later, follower, link)


def behind_a_scanner(scene: Scene) -> None:
    """A scanner first, then the person it protects, from another address."""
    _burst(scene, "scanner before a person", scene.visitor(), _begin(scene.dice))
    _reads(scene, "person behind a scanner", scene.visitor())


PLAYERS: tuple[tuple[float, Callable[[Scene], None]], ...] = (
    (0.20, reader),
    (0.02, without_images),
    (0.02, digest_reader),
    (0.01, isolated),
    (0.01, second_looker),
    (0.03, hurried),
    (0.18, at_gmail),
    (0.06, at_yahoo),
    (0.16, at_apple),
    (0.05, named_scanner),
    (0.09, browser_scanner),
    (0.03, head_scanner),
    (0.02, slow_scanner),
    (0.02, walking_scanner),
    (0.01, sampling_scanner),
    (0.01, filter_scanner),
    (0.08, behind_a_scanner),
)


def _reads(scene: Scene, player: str, who: tuple[str, str]) -> None:
    at = scene.dice.uniform(60, 86_400)
    scene.hit(Nature.HUMAN, player, at, who)
    _clicks(scene, player, who, at)


def _clicks(scene: Scene, player: str, who: tuple[str, str], at: float) -> None:
    for link in scene.dice.sample(range(1, LINKS + 1), scene.dice.choice((0, 0, 1, 1, 2))):
        at += scene.dice.expovariate(1 / 25) + 2
        scene.hit(Nature.HUMAN, player, at, who, link)


def _burst(scene: Scene, player: str, who: tuple[str, str], begin: float) -> None:
    scene.hit(Nature.SCANNER, player, max(1.0, begin - scene.dice.uniform(20, 45)), who)
    for link in range(1, LINKS + 1):
        scene.hit(Nature.SCANNER, player, begin + scene.dice.uniform(0, 1), who, link)


def _begin(dice: random.Random) -> float:
    chosen = dice.choices(BURSTS, [share for share, _, _ in BURSTS])[0]
    return dice.uniform(*chosen[1:])
