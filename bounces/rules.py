"""The rules of `knowledge/*.toml`: loading them once, and finding the first that takes a text.

Guarantees: a rule file that names an unknown class, key or answer does not load (`RuleError` says
which rule and what was expected); matching a text costs one substring search per phrase, never more
than linear in the text. What the rules mean is `judgement`'s business.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bounces.judgement import COARSE, REASONS

KNOWLEDGE = Path(__file__).with_name("knowledge")
_LISTS = ("any", "all", "none", "code", "enhanced", "stage")
_ANSWERS = {
    "delivery": ("retry", "next-host", "give-up"),
    "recipient": ("suppress", "keep"),
    "destination": ("ok", "slow-down", "stop"),
}
_KNOWN = {"id", "class", "reason", "sample", "regex", "provider", *_LISTS, *_ANSWERS}
_PREFIX = re.compile(r"[a-z0-9]{3}")
_WORD_PREFIX = re.compile(r"(?<![a-z0-9])[a-z0-9]{3}")
_LETTERS = str.maketrans(
    {"\u2019": "'", "\u00df": "ss", "\u0131": "i", "\u00f8": "o", "\u0142": "l"}
)
_MARKS = re.compile("[\u0300-\u036f]+")


class RuleError(ValueError):
    """The rule file is wrong; says which rule and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, its phrases folded as `fold` folds texts."""

    id: str
    klass: str
    reason: str
    sample: str
    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    enhanced: tuple[str, ...] = ()
    stage: tuple[str, ...] = ()
    provider: str = ""
    regex: re.Pattern[str] | None = None
    told: Mapping[str, str]

    def allows(self, text: str, code: str, enhanced: str, stage: str, provider: str) -> bool:
        """Tell whether everything but the phrases of `any` fits a folded text with these codes."""
        if self.code and not (code or "-").startswith(self.code):
            return False
        if self.enhanced and (enhanced or "-") not in self.enhanced:
            return False
        if (self.stage and stage not in self.stage) or (
            self.provider and provider != self.provider
        ):
            return False
        if self.none and any(phrase in text for phrase in self.none):
            return False
        if self.all and not all(phrase in text for phrase in self.all):
            return False
        return self.regex is None or self.regex.search(text) is not None


def fold(text: str) -> str:
    """Bring a text to the form rules are compared in: lower case, Latin accents removed."""
    lowered = text.lower()
    if lowered.isascii():
        return lowered
    lowered = lowered.translate(_LETTERS)
    return _decomposed(lowered)


def _decomposed(text: str) -> str:
    """Take characters apart as folded texts have them; an expression's own case stays."""
    return _MARKS.sub("", unicodedata.normalize("NFKD", text))


class RuleBook:
    """Rules in order, indexed by how their phrases begin.

    A phrase that begins with a letter or digit is only looked for in a text with a word that begins
    alike, any other in a text that has its first character: a thousand phrases then cost what a
    hundred would.
    """

    __slots__ = ("_by_character", "_by_prefix", "_unconditional", "rules")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        """Index the rules."""
        self.rules = rules
        self._unconditional: list[int] = []  # rules without phrases
        self._by_character: dict[str, list[tuple[str, int]]] = {}  # where no prefix leads
        self._by_prefix: dict[str, list[tuple[str, int]]] = {}
        for place, rule in enumerate(rules):
            if not rule.any:
                self._unconditional.append(place)
            for phrase in rule.any:
                found = _PREFIX.match(phrase) if phrase.isascii() else None
                if found is not None:
                    self._by_prefix.setdefault(found[0], []).append((phrase, place))
                else:
                    self._by_character.setdefault(phrase[0], []).append((phrase, place))

    def first(self, text: str, code: str, enhanced: str, stage: str, provider: str) -> Rule | None:
        """Find the first rule that takes a folded text with these codes."""
        places = set(self._unconditional)
        by_character = self._by_character
        for character in by_character.keys() & set(text):
            for phrase, place in by_character[character]:
                if phrase in text:
                    places.add(place)
        by_prefix = self._by_prefix
        for prefix in set(_WORD_PREFIX.findall(text)):
            for phrase, place in by_prefix.get(prefix, ()):
                if phrase in text:
                    places.add(place)
        for place in sorted(places):
            rule = self.rules[place]
            if rule.allows(text, code, enhanced, stage, provider):
                return rule
        return None


@cache
def load_rules(folder: Path = KNOWLEDGE) -> RuleBook:
    """Load the rule files of a folder in the order of their names, once per folder.

    A rule file's name begins with a digit. Raises `RuleError` or `tomllib.TOMLDecodeError`.
    """
    rules = tuple(
        _rule(entry)
        for file in sorted(folder.glob("[0-9]*.toml"))
        for entry in tomllib.loads(file.read_text(encoding="utf-8")).get("rule", ())
    )
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise RuleError(f"rule {rule.id}: the id is used twice")
        seen.add(rule.id)
    return RuleBook(rules)


def _rule(entry: Mapping[str, object]) -> Rule:
    name = entry.get("id")
    if not isinstance(name, str) or not isinstance(entry.get("sample"), str):
        raise RuleError(f"rule {name!r}: expected an id and a sample, both texts")
    unknown = entry.keys() - _KNOWN
    if unknown:
        raise RuleError(f"rule {name}: unknown key {min(unknown)!r}")
    klass = str(entry.get("class", ""))
    if klass not in COARSE:
        raise RuleError(f"rule {name}: class {klass!r} is none of {', '.join(COARSE)}")
    told = {key: str(entry[key]) for key in _ANSWERS if key in entry}
    for key, said in told.items():
        if said not in _ANSWERS[key]:
            raise RuleError(f"rule {name}: {key} {said!r} is none of {', '.join(_ANSWERS[key])}")
    lists = {key: _texts(name, key, entry[key]) for key in _LISTS if key in entry}
    if not lists.keys() & {"any", "all", "enhanced", "code"} and "regex" not in entry:
        raise RuleError(f"rule {name}: expected any, all, regex, code or enhanced")
    regex = re.compile(_decomposed(str(entry["regex"]))) if "regex" in entry else None
    return Rule(
        id=name,
        klass=klass,
        reason=str(entry.get("reason", REASONS[klass])),
        sample=str(entry["sample"]),
        provider=str(entry.get("provider", "")),
        regex=regex,
        told=told,
        **lists,
    )


def _texts(name: object, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise RuleError(f"rule {name}: {key} must be a list of texts")
    return tuple(fold(str(v)) for v in value)


@cache
def load_words(name: str, folder: Path = KNOWLEDGE) -> tuple[str, ...]:
    """Load a list of words out of `senders.toml`, folded as texts are. Raises `RuleError`."""
    lists = tomllib.loads((folder / "senders.toml").read_text(encoding="utf-8"))
    return _texts("senders.toml", name, lists.get(name))
