"""A checker that cannot fail proves nothing: each invariant is broken once, and seen."""

from __future__ import annotations

import base64
from pathlib import Path

from relay.sandbox.sink import Got
from tests.harness.checker import (
    Allowance,
    check,
    check_contents,
    check_counts,
    difference,
    refused_for_good,
    tokens_of,
)
from tests.harness.ledger_file import LedgerFile, Tried, read_ledger
from tests.harness.mails import Mix, mails, recipient_id

MAILS = list(mails("m", 4, seed=1, mix=Mix(recipients=2)))


def tried() -> Tried:
    """Three acknowledged, the last broke off."""
    return Tried(
        recipients={m.id: tuple(r.decode() for r in m.recipients) for m in MAILS},
        sha256={m.id: m.sha256 for m in MAILS},
        acknowledged={m.id: "250 2.0.0 ok" for m in MAILS[:3]},
    )


def got(recipient: str, decision: str = "250 2.0.0 Taken") -> Got:
    """One arrival."""
    return Got(
        number=1,
        at=0.0,
        sender="",
        recipients=(recipient,),
        message_id="",
        sha256="",
        size=0,
        decision=decision,
    )


def everything() -> list[Got]:
    """What arrives when all is well."""
    ledger = tried()
    return [got(r) for r in sorted(ledger.addresses(ledger.acknowledged))]


def test_a_good_run_has_nothing_broken() -> None:
    found = check(tried(), everything())
    assert found.broken == []
    assert found.summary["arrived"] == found.acknowledged


def test_lost_is_found() -> None:
    found = check(tried(), everything()[1:])
    assert len(found.lost) == 1
    assert found.broken[0].startswith("I1 lost: 1")


def test_refused_or_waiting_is_not_lost() -> None:
    first, second, *rest = everything()
    allowance = Allowance(
        returned=frozenset(first.recipients), waiting=frozenset(second.recipients)
    )
    assert check(tried(), rest, allowance).broken == []


def test_a_deferred_try_is_no_arrival() -> None:
    first, *rest = everything()
    deferred = got(first.recipients[0], "451 4.7.1 later")
    assert len(check(tried(), [deferred, *rest]).lost) == 1


def test_unexpected_is_found() -> None:
    assert check(tried(), [*everything(), got("evil@sink.test")]).unexpected == ["evil@sink.test"]


def test_a_refused_submission_must_not_arrive() -> None:
    ledger = tried()
    ledger.refused[MAILS[3].id] = "451 4.3.0"
    stray = got(MAILS[3].recipients[0].decode())
    assert check(ledger, [*everything(), stray]).unexpected == list(stray.recipients)


def test_broken_off_may_arrive_and_counts_as_recovered() -> None:
    found = check(tried(), [*everything(), got(MAILS[3].recipients[0].decode())])
    assert found.broken == []
    assert found.recovered == 1


def test_duplicates_are_counted_against_the_allowance() -> None:
    twice = [*everything(), everything()[0]]
    assert check(tried(), twice).broken[0].startswith("I3 duplicated: 1")
    assert check(tried(), twice, Allowance(duplicates=1)).broken == []


def test_a_dropped_answer_allows_one_more_arrival() -> None:
    first, *rest = everything()
    unsure = got(first.recipients[0], "drop")
    assert check(tried(), [unsure, *rest]).broken == []
    assert check(tried(), [unsure, first, *rest]).broken == []
    assert len(check(tried(), [unsure, first, first, *rest]).duplicated) == 1


def test_integrity() -> None:
    content = MAILS[0].content
    assert difference(content, content) == ""
    assert (
        difference(b"Received: from a\r\n\tby b\r\nDKIM-Signature: v=1\r\n" + content, content)
        == ""
    )
    assert "no header field of ours" in difference(b"X-Evil: 1\r\n" + content, content)
    assert "not whole lines" in difference(b"Received:" + content, content)
    assert "not the end" in difference(content[:-2], content)
    assert "not the end" in difference(content + b"\r\n", content)


def token(delivery: int) -> bytes:
    """Make something with the layout of a tracking token."""
    raw = b"\x10\x01\x02" + delivery.to_bytes(8, "big") + bytes(34)
    return b"http://t.test/c/" + base64.urlsafe_b64encode(raw) + b"aHR0cA"


def test_tokens_of_others_are_found() -> None:
    one, two = (m.recipients[0].decode() for m in MAILS[:2])
    bodies = [token(1), token(2)]
    submitted = {m.id: b"" for m in MAILS}

    def damage(first: bytes, second: bytes) -> list[str]:
        return check_contents(
            [got(one), got(two)], [first, second], submitted, restore=lambda _body: b""
        )

    assert tokens_of(bodies[0]) == {1}
    assert damage(*bodies) == []
    assert "carries the tokens of" in damage(bodies[0], bodies[0])[0]
    assert "2 deliveries" in damage(bodies[0] + b" " + bodies[1], b"")[0]


def test_counts() -> None:
    ledger = tried()
    found = check(ledger, everything())
    right = {"accepted": found.acknowledged, "delivered": found.arrived, "bounced": 0}
    assert check_counts(ledger, found, right) == []
    for name in right:
        assert check_counts(ledger, found, {**right, name: right[name] + 10})


def test_recipients_refused_for_good_are_counted_as_bounced() -> None:
    ledger = tried()
    sure = MAILS[0].recipients[0].decode()
    broken_off = MAILS[3].recipients[0].decode()
    rest = [one for one in everything() if one.recipients != (sure,)]
    returned = frozenset({sure, broken_off})
    found = check(ledger, rest, Allowance(returned=returned))
    right = {"accepted": found.arrived + 1, "delivered": found.arrived, "bounced": 1}
    assert check_counts(ledger, found, right, returned) == []
    unsure = {**right, "accepted": right["accepted"] + 1, "bounced": 2}
    assert check_counts(ledger, found, unsure, returned) == []
    assert check_counts(ledger, found, {**unsure, "bounced": 0}, returned)


def test_a_signature_is_no_token() -> None:
    line = b"DKIM-Signature: v=1; b=A+/c/" + b"k" * 66 + b"==\r\n"
    assert tokens_of(line) == set()


def test_the_ledger_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with LedgerFile(path) as ledger:
        for mail in MAILS:
            ledger.tried(mail)
        for mail in MAILS[:3]:
            ledger.acknowledged(mail, "250 2.0.0 ok")
    back = read_ledger(path)
    assert back == tried()
    assert back.indeterminate == {MAILS[3].id}


def test_mail_is_the_same_for_the_same_seed() -> None:
    assert list(mails("m", 4, seed=1, mix=Mix(recipients=2))) == MAILS
    assert list(mails("m", 4, seed=2)) != list(mails("m", 4, seed=1))
    assert recipient_id(MAILS[1].recipients[0].decode()) == ("m-1", 0)
    assert recipient_id("ann@shop.test") is None


def test_permanent_refusals_are_known_by_name() -> None:
    names = ["m-1.0@550-rcpt.test", "550-dot@x.test", "m-2.0@451-rcpt.test", "m-3.0@sink.test"]
    assert refused_for_good(names) == frozenset(names[:2])
