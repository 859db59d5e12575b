"""How far an unsubscription reaches, and how a token says it: by its link index."""

from __future__ import annotations

SCOPES = ("domain", "account", "campaign")  # the order is for ever: tokens in mail name it


def scope_of(link: int) -> str:
    """Give the scope of an unsubscribe token's link index; the first for one nobody wrote."""
    return SCOPES[link] if link < len(SCOPES) else SCOPES[0]


def link_of(scope: str) -> int:
    """Give the link index of a scope; raises ValueError for a word that is none."""
    return SCOPES.index(scope)
