"""The rules: each takes its own sample, and a wrong rule file does not load."""

from pathlib import Path

import pytest

from bounces.classify import classify, codes_in
from bounces.judgement import CLASSES
from bounces.rules import KNOWLEDGE, Rule, RuleError, fold, load_rules, load_words

RULES = load_rules().rules


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.id)
def test_rule_takes_its_own_sample(rule: Rule) -> None:
    """And no earlier rule took it."""
    code, enhanced = codes_in(rule.sample)
    judged = classify(code, enhanced, rule.sample, provider=rule.provider)
    assert judged.rule == rule.id
    assert judged.klass == rule.klass
    assert judged.reason == rule.reason


def test_samples_are_nobodys_mail() -> None:
    """Addresses and hosts of samples lie under reserved names."""
    for rule in RULES:
        for word in rule.sample.split():
            if "@" in word:
                assert ".test" in word, rule.id


def test_nearly_every_class_is_reached_by_a_rule() -> None:
    """Only `other` needs none."""
    assert {rule.klass for rule in RULES} | {"other"} == set(CLASSES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rule]]\nid = "a"\nclass = "spam"\nany = ["x"]', "expected an id and a sample"),
        ('[[rule]]\nid = "a"\nsample = "x"\nclass = "spma"\nany = ["x"]', "'spma' is none of"),
        ('[[rule]]\nid = "a"\nsample = "x"\nclass = "spam"\nanny = ["x"]', "unknown key 'anny'"),
        ('[[rule]]\nid = "a"\nsample = "x"\nclass = "spam"\nany = "x"', "must be a list of texts"),
        ('[[rule]]\nid = "a"\nsample = "x"\nclass = "spam"', "expected any, all, regex"),
        (
            '[[rule]]\nid = "a"\nsample = "x"\nclass = "spam"\nany = ["x"]\nrecipient = "kill"',
            "recipient 'kill' is none of suppress, keep",
        ),
        ('[[rule]]\nid = "a"\nsample = "x"\nclass = "spam"\nany = ["x"]\n' * 2, "used twice"),
    ],
)
def test_a_wrong_rule_does_not_load(tmp_path: Path, text: str, said: str) -> None:
    """The error names the rule and what was expected."""
    (tmp_path / "10-x.toml").write_text(text)
    with pytest.raises(RuleError, match=said):
        load_rules(tmp_path)


def test_rules_are_asked_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    """The first that takes a text decides."""
    rule = '[[rule]]\nid = "{}"\nsample = "x"\nclass = "spam"\nany = ["word"]\n'
    (tmp_path / "20-b.toml").write_text(rule.format("b"))
    (tmp_path / "10-a.toml").write_text(rule.format("a1") + rule.format("a2"))
    first = load_rules(tmp_path).first("a word", "550", "", "", "")
    assert first is not None
    assert first.id == "a1"


def test_conditions_narrow_a_rule(tmp_path: Path) -> None:
    """Every kind of condition keeps a rule from a text it is not about."""
    (tmp_path / "10-a.toml").write_text(
        '[[rule]]\nid = "a"\nsample = "x"\nclass = "spam"\nany = ["word"]\nall = ["second"]\n'
        'none = ["never"]\ncode = ["55"]\nenhanced = ["5.1.1", "-"]\nstage = ["rcpt"]\n'
        "provider = \"p\"\nregex = 'o+d'\n"
    )
    book = load_rules(tmp_path)

    def taken(
        text: str, code: str = "550", enhanced: str = "", stage: str = "rcpt", by: str = "p"
    ) -> bool:
        return book.first(text, code, enhanced, stage, by) is not None

    assert taken("a word, a second, good")
    assert not taken("a word, good")
    assert not taken("a word, a second, never, good")
    assert not taken("a word, a second, good", code="450")
    assert not taken("a word, a second, good", enhanced="5.7.1")
    assert not taken("a word, a second, good", stage="mail")
    assert not taken("a word, a second, good", by="q")
    assert not taken("a wurd, a second")


def test_folding_removes_accents_and_keeps_other_scripts_comparable() -> None:
    """Phrases and texts are folded alike, so composed and decomposed forms meet."""
    assert fold("Boîte PLEINE, Straße") == "boite pleine, strasse"
    assert fold("が") == fold("か\u3099")


def test_words_are_there() -> None:
    """The lists that origin.py asks for exist."""
    names = "report-subjects failure-words report-words mail-words auto-subjects challenges"
    for name in [*names.split(), "no-challenges"]:
        assert load_words(name)
    with pytest.raises(RuleError):
        load_words("no such list", KNOWLEDGE)
