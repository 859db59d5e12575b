"""Coverage-guided fuzzing of what remote servers say: replies, EHLO, a whole session, MTA-STS.

    python -m bench.fuzz_delivery [-max_total_time=600] [corpus directory]

Whatever a server answers: nothing is raised but what is declared, every mail gets exactly one end,
a mail counts as delivered only after a 2xx to its final dot, what is kept of a reply is bounded and
printable, commands of ours are whole lines, and the way the octets are cut makes no difference.
Arguments are those of libFuzzer.
"""

import contextlib
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # ships no types

with atheris.instrument_imports(include=["relay.delivery", "relay.mail"]):
    from relay.delivery.engine import Engine
    from relay.delivery.hello import Hello
    from relay.delivery.mx.sts import StsError, read_policy
    from relay.delivery.outgoing import Outgoing, Problem
    from relay.delivery.phases import Phase
    from relay.delivery.replies import MAX_REPLY, MAX_TEXT, ReplyError, ReplyReader
    from relay.delivery.transaction import Transaction

MAIL = Outgoing(
    delivery=1,
    return_path=b"news@shop.test",
    recipient=b"ann@inbox.test",
    content=b"Subject: x\r\n\r\nhi\r\n",
)
GREETED = b"220 mx.test\r\n250-mx.test\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
End = tuple[str, str, bool, bytes]


def told(transaction: Transaction) -> End:
    """Say how a mail ended, once it is checked that it may end so."""
    reply, problem = transaction.reply, transaction.problem
    if reply is not None:
        parsed = reply.parse()
        if len(parsed.text) > MAX_TEXT or not parsed.text.isprintable():
            raise AssertionError(parsed)
    if problem is None and (reply is None or not 200 <= reply.code < 300):
        raise AssertionError(f"delivered after {reply}")
    raw = reply.raw if reply is not None else b""
    return (transaction.stage.name, problem.name if problem else "", transaction.ambiguous, raw)


def play(pieces: list[bytes]) -> list[End]:
    """Have a session with up to two mails; give how each ended."""
    engine = Engine(Hello(b"relay.test"))
    begun = 0
    for piece in [*pieces, b""]:
        if engine.phase is Phase.READY and engine.has_room and begun < 2:
            engine.begin(MAIL, lambda _transaction: None, 0.0)
            begun += 1
        if engine.phase is Phase.ENDED:
            break
        engine.receive(piece, 0.0)
        engine.unsent = None
    if engine.phase is not Phase.ENDED:
        engine.fail(Problem.LOST, "the connection was lost")
    ends = [told(transaction) for transaction in engine.finished]
    if len(ends) != begun:
        raise AssertionError(f"{begun} mails, {len(ends)} ends")
    for line in b"".join(engine.out).split(b"\r\n"):
        if b"\n" in line or b"\r" in line:
            raise AssertionError(line)
    return ends


def replies(data: bytes) -> None:
    """Cut into replies, whole and octet by octet."""
    found = []
    for pieces in ([data], [data[n : n + 1] for n in range(len(data))]):
        reader, said, broken = ReplyReader(), [], False
        try:
            for piece in pieces:
                said += [(reply.code, reply.raw) for reply in reader.feed(piece)]
        except ReplyError:
            broken = True
        if any(len(raw) > MAX_REPLY + 4096 for _, raw in said):
            raise AssertionError("a reply over its bound was kept")
        found.append((broken, said))
    if data.count(b"\r\n") > 300:  # so many at once are refused for their number alone
        return
    if found[0][0] != found[1][0] or (not found[0][0] and found[0] != found[1]):
        raise AssertionError(found)


def one_input(data: bytes) -> None:
    """Try everything with one input."""
    if not data:
        return
    kind, data = data[0] % 4, data[1:4096]
    if kind == 0:
        with contextlib.suppress(StsError):
            read_policy(data.decode("utf-8", "replace"))
    elif kind == 1:
        replies(data)
    else:
        start = [GREETED] if kind == 2 else []
        middle = len(data) // 2
        play([*start, data])
        play([*start, data[:middle], data[middle:]])
        play([*start, *(line + b"\r\n" for line in data.split(b"\r\n"))])


SEEDS = (
    b"\x02250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 queued\r\n",
    b"\x02250 ok\r\n550 5.1.1 <a@b> unknown\r\n503 5.5.1 no\r\n250 reset\r\n",
    b"\x02250-2.1.0 a\r\n250 2.1.0 b\r\n452 4.2.2 full\r\n354 go\r\n421 4.7.0 later\r\n",
    b"\x02250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n451 4.3.0 no\r\n",
    b"\x03220 mx\r\n250-mx\r\n250-8BITMIME\r\n250-LIMITS MAILMAX=1\r\n250 SIZE 9\r\n",
    b"\x03554 5.7.1 no\r\n",
    b"\x03220 mx\r\n502 no\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n",
    b"\x01250-a\r\n250 b\r\n550 5.1.1\r\n",
    b"\x00version: STSv1\nmode: enforce\nmx: *.mx.test\nmax_age: 86400\n",
)


def main() -> None:
    """Fuzz until libFuzzer ends; an empty corpus gets a beginning."""
    for corpus in map(Path, sys.argv[1:]):
        if corpus.is_dir() and not any(corpus.iterdir()):
            for number, seed in enumerate(SEEDS):
                (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
