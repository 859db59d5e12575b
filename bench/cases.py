"""What is measured: sizes, tracked or not, and who loads."""

from __future__ import annotations

from dataclasses import dataclass

UNTRACKED = "s.test"  # not registered with the relay: neither tracked nor signed
TRACKED = "shop.test"  # registered: tracked and signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of mail, and how many of it one run sends."""

    name: str
    size: int  # octets
    tracked: bool
    messages: int

    @property
    def domain(self) -> str:
        """Give the sending domain."""
        return TRACKED if self.tracked else UNTRACKED

    @property
    def loader(self) -> str:
        """Say who sends: smtp-source makes its own content, a newsletter needs ours."""
        return "bench.load" if self.tracked else "smtp-source"


CASES = (
    Case(name="4 KB untracked", size=4096, tracked=False, messages=6000),
    Case(name="40 KB untracked", size=40_960, tracked=False, messages=4000),
    Case(name="4 KB tracked and signed", size=4096, tracked=True, messages=6000),
    Case(name="40 KB tracked and signed", size=40_960, tracked=True, messages=4000),
)
CONNECTIONS = 20
