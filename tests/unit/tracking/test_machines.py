"""Machines told from people: each rule takes its own sample, and behaviour tells the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.machine_rules import NetworkRule, RulesError, TextRule, builtin, parse
from tracking.machines import Hit, Verdict, classify, network, repeats
from tracking.platforms import Platform, read

SECOND = 1_000_000
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36"
)
SENT = 1_700_000_000 * SECOND


def click(
    after: float = 3600, link: int = 0, agent: str = BROWSER, address: str = "192.0.2.1",
    method: str = "GET",
) -> Hit:  # fmt: skip
    return Hit(
        at=SENT + round(after * SECOND), kind="click", delivery=1, link=link, method=method,
        user_agent=agent, address=address, sent_at=SENT,
    )  # fmt: skip


def opened(after: float = 3600, agent: str = BROWSER, address: str = "192.0.2.1") -> Hit:
    return Hit(
        at=SENT + round(after * SECOND), kind="open", delivery=1,
        user_agent=agent, address=address, sent_at=SENT,
    )  # fmt: skip


@pytest.mark.parametrize("rule", builtin().agents, ids=lambda rule: rule.rule)
def test_an_agent_rule_takes_its_own_sample(rule: TextRule) -> None:
    hit = click(agent=rule.sample) if "click" in rule.kinds else opened(agent=rule.sample)
    assert classify(hit, ()) == (rule.nature, rule.rule)


@pytest.mark.parametrize("rule", builtin().headers, ids=lambda rule: rule.rule)
def test_a_header_rule_takes_its_own_sample(rule: TextRule) -> None:
    hit = Hit(
        at=SENT, kind="click", delivery=1, user_agent=BROWSER, headers={rule.header: rule.sample}
    )
    assert classify(hit, ()) == (rule.nature, rule.rule)


@pytest.mark.parametrize("rule", builtin().networks, ids=lambda rule: rule.rule)
def test_a_network_rule_takes_its_own_sample(rule: NetworkRule) -> None:
    assert classify(click(60, address=rule.sample), ()) == (rule.nature, rule.rule)
    mapped = click(60, address=f"::ffff:{rule.sample}")
    assert classify(mapped, ()) == (rule.nature, rule.rule)
    later = classify(click(3600, address=rule.sample), ()).kind
    assert later == ("human" if rule.within is not None else rule.nature)
    loads = classify(opened(60, address=rule.sample), ()).kind
    assert loads == (rule.nature if "open" in rule.kinds else "human")


@pytest.mark.parametrize(
    "agent",
    [
        BROWSER,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 16_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
        "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.6.0",
        "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.5134; Pro)",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
    ],
)
def test_people_are_people(agent: str) -> None:
    assert classify(opened(agent=agent), ()).kind == "human"
    assert classify(click(agent=agent), [opened(3500, agent)]).kind == "human"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST"])
def test_other_methods_are_machines(method: str) -> None:
    assert classify(click(method=method), ()).kind == "scanner"


def test_a_get_right_behind_a_head_is_the_same_machine() -> None:
    head = click(100, method="HEAD")
    assert classify(click(101), [head]) == ("scanner", "head-first")
    assert classify(click(3600), [head]).kind == "human"
    assert classify(click(101, address="198.51.100.1"), [head]).kind == "human"


def test_three_links_in_two_seconds_are_a_burst() -> None:
    hits = [click(43 + number * 0.3, number) for number in range(3)]
    for hit in hits:
        others = [each for each in hits if each is not hit]
        assert classify(hit, others) == ("scanner", "burst")


def test_late_evidence_corrects_the_first_hit() -> None:
    first, *later = [click(43 + number * 0.3, number) for number in range(3)]
    assert classify(first, []).kind == "human"
    assert classify(first, later[:1]).kind == "human"
    assert classify(first, later) == ("scanner", "burst")


@pytest.mark.parametrize(
    "hits",
    [
        [click(60, 1), click(60.2, 1), click(60.4, 1)],  # one link, impatient
        [click(60, 1), click(62.5, 2), click(65, 3)],  # a fast reader
        [click(60, 1), click(60.5, 2)],  # two links
    ],
)
def test_what_is_no_burst(hits: list[Hit]) -> None:
    for hit in hits:
        others = [each for each in hits if each is not hit]
        assert classify(hit, others).kind == "human"


def test_the_open_before_a_burst_is_the_scanners() -> None:
    burst = [click(43 + number * 0.1, number) for number in range(10)]
    assert classify(opened(9), burst) == ("scanner", "burst-open")
    assert classify(opened(9, address="198.51.100.7"), burst).kind == "human"
    assert classify(opened(3600), burst).kind == "human"


def test_four_links_in_minutes_of_a_mail_that_nobody_opened_are_a_scanners() -> None:
    """From wherever they come: scanners change their addresses."""
    hits = [click(43 + number * 60, number, address=f"198.51.{number}.7") for number in range(4)]
    assert verdicts(hits) == {Verdict("scanner", "links-unopened")}
    assert verdicts(hits[:3]) == {Verdict("human", "none")}
    before = opened(40, address="203.0.113.1")
    assert verdicts(hits, before) == {Verdict("human", "none")}
    assert verdicts(hits, opened(400)) == {Verdict("scanner", "links-unopened")}
    slow = [click(43 + number * 150, number) for number in range(4)]
    assert verdicts(slow) == {Verdict("human", "none")}


def test_one_link_after_the_next_is_a_walk() -> None:
    before = opened(20)
    hits = [click(60 + number * 30, number) for number in range(3, 9)]
    assert verdicts(hits, before) == {Verdict("scanner", "walk")}
    assert classify(before, hits) == ("human", "none")  # long before: may be a person's
    assert classify(opened(140), hits) == ("scanner", "burst-open")
    again = [hits[0], click(151, 3), *hits[1:]]
    assert verdicts(again, before) == {Verdict("scanner", "walk")}
    for people in (
        hits[:5],
        [*hits[:3], *hits[4:]],  # a link left out, as the picture beside its headline is
        [click(60 + number * 70, number) for number in range(6)],
        [click(60 + number * 30, 9 - number) for number in range(6)],
    ):
        assert verdicts(people, before) == {Verdict("human", "none")}


def test_a_second_visitor_on_the_same_link_is_nobody() -> None:
    """One of the two is a person; counted are they once."""
    first = click(3600, 1)
    other = click(3612, 1, agent=BROWSER.replace("120", "142"), address="203.0.113.5")
    assert classify(first, [other]) == ("human", "none")
    assert classify(other, [first]) == ("unknown", "second-look")
    assert classify(click(3612, 2, agent="x", address="203.0.113.5"), [first]).kind == "human"
    assert classify(click(3620, 1, agent="x", address="203.0.113.5"), [first]).kind == "human"
    assert classify(click(3612, 1, address="203.0.113.5"), [first]).kind == "human"  # moved on
    # A link that a known scanner checks at the moment of the click: the person comes second.
    known = click(3611, 1, agent="x", address="40.107.218.12")
    assert classify(other, [known]) == ("human", "none")


def verdicts(hits: list[Hit], *company: Hit) -> set[Verdict]:
    """Judge each of these in the company of the others and of `company`."""
    everything = [*hits, *company]
    return {classify(hit, [each for each in everything if each is not hit]) for hit in hits}


def test_nobody_clicks_the_moment_a_mail_is_sent() -> None:
    assert classify(click(1), ()) == ("scanner", "too-soon")
    assert classify(click(30), ()).kind == "human"
    unknown = Hit(at=SENT, kind="click", delivery=1, user_agent=BROWSER)
    assert classify(unknown, ()).kind == "human"


def test_without_a_user_agent_nothing_is_known() -> None:
    assert classify(opened(agent=""), ()) == ("unknown", "no-user-agent")


@given(
    st.lists(
        st.builds(
            click, st.floats(0, 5000), st.integers(0, 5), st.text(max_size=30), st.text(max_size=30)
        ),
        max_size=8,
    ),
    st.randoms(),
)
def test_the_order_of_the_others_does_not_matter(hits: list[Hit], chance: object) -> None:
    if not hits:
        return
    shuffled = sorted(hits[1:], key=lambda hit: (hit.link, hit.at))
    assert classify(hits[0], hits[1:]) == classify(hits[0], shuffled)


def test_the_same_visitor_on_the_same_link_is_one_event() -> None:
    first = click(100, 1)
    assert repeats(click(105, 1), [first])
    assert not repeats(click(105, 2), [first])
    assert not repeats(click(115, 1), [first])
    assert not repeats(click(105, 1, address="198.51.100.1"), [first])
    assert repeats(click(105, 1, address="192.0.2.200"), [first])
    assert not repeats(first, [first])


@pytest.mark.parametrize(
    ("address", "shared"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::ffff:192.0.2.1", "192.0.2.0/24"),
        ("garbage", ""),
        ("1" * 100, ""),
        ("", ""),
    ],
)
def test_networks(address: str, shared: str) -> None:
    assert network(address) == shared


BEHAVIOUR = (
    "[behaviour]\nburst_links=3\nburst_seconds=2\nburst_open_seconds=1\ntoo_soon_click_seconds=1\n"
    "too_soon_open_seconds=1\nhead_seconds=1\nrevisit_seconds=1\nunopened_links=4\n"
    "unopened_seconds=9\nwalk_links=6\nwalk_seconds=1\nsecond_look_seconds=1\n"
)
NETWORK = '[[network]]\nrule="n"\nnature="scanner"\nranges=["192.0.2.0/24"]\nsample="192.0.2.1"\n'
AGENT = '[[agent]]\nrule="r"\nnature="scanner"\nhow="is"\ntext="x"\nsample="x"\n'


def test_operators_may_bring_their_own_rules() -> None:
    assert classify(click(agent="x"), (), parse(AGENT + BEHAVIOUR)) == ("scanner", "r")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not toml",
        AGENT,
        AGENT.replace("scanner", "robot") + BEHAVIOUR,
        AGENT.replace('"is"', '"like"') + BEHAVIOUR,
        AGENT.replace('text="x"\n', "") + BEHAVIOUR,
        NETWORK.replace("192.0.2.0/24", "x") + BEHAVIOUR,
        NETWORK + 'kinds=["reply"]\n' + BEHAVIOUR,
        NETWORK + 'within_seconds="soon"\n' + BEHAVIOUR,
    ],
)
def test_bad_rules_are_refused(text: str) -> None:
    with pytest.raises(RulesError):
        parse(text)


@pytest.mark.parametrize(
    ("agent", "platform"),
    [
        (BROWSER, Platform("Chrome", "Windows", "desktop")),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.6.0",
            Platform("Thunderbird", "Linux", "desktop"),
        ),
        (
            "Mozilla/5.0 (Windows NT 5.1) Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            Platform("Gmail", "", "proxy"),
        ),
        ("Mozilla/5.0", Platform("Apple Mail", "", "proxy")),
        ("", Platform("", "", "")),
    ],
)
def test_platforms(agent: str, platform: Platform) -> None:
    assert read(agent) == platform


def test_phones_and_tablets() -> None:
    iphone = (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 16_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
    )
    assert read(iphone)[1:] == ("iOS", "phone")
    android = (
        "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"
    )
    assert read(android)[1:] == ("Android", "tablet")


@given(st.text(max_size=700))
def test_any_agent_has_a_platform(agent: str) -> None:
    assert len(read(agent).client) <= 40
