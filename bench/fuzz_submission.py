"""Coverage-guided fuzzing of the SMTP doors: addresses, parameters, PROXY headers, the dialogue.

    python -m bench.fuzz_submission [-max_total_time=60] [corpus directory]

Whatever the octets are, only replies of ours may come out, content that goes on is clean, and what
one way to cut the input gives, every other way gives too. Arguments are those of libFuzzer.
"""

import contextlib
import sys

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["relay.mail", "relay.submission"]):
    from relay.mail.addresses import AddressError, check_wire, parse_path, split_path
    from relay.mail.lines import is_crlf_clean
    from relay.submission import events
    from relay.submission.engine import Engine
    from relay.submission.options import SessionLimits, SessionOptions
    from relay.submission.parameters import ParameterError, read_recipient, read_sender
    from relay.submission.proxy import ProxyError, parse_v1, parse_v2
    from relay.submission.verbs import VERBS

OPTIONS = SessionOptions(hostname="fuzz.test", auth_required=False, auth_needs_tls=False)
LIMITS = SessionLimits(message=20_000, message_slack=1000, error_delay=0.0)
START = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"


def play(chunks: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Run a dialogue in which everything is accepted: replies and contents."""
    engine = Engine(OPTIONS, LIMITS, VERBS)
    output, contents = b"", []
    for chunk in chunks:
        engine.feed(chunk)
        while (event := engine.next_event()) is not None:
            if isinstance(event, events.Penalty):
                engine.resume()
            elif isinstance(event, events.ContentWanted):
                engine.answer(b"354 Go on")
            elif isinstance(event, events.LoginTried):
                engine.answer(b"235 2.7.0 Welcome")
            else:
                engine.answer(b"250 2.0.0 Fine")
            if isinstance(event, events.MessageGiven):
                contents.append(event.content)
        output += engine.take_output()
    return output, contents


def check_dialogue(data: bytes) -> None:
    """Replies are replies, content is clean, and chunks make no difference."""
    for begin in ([], [START]):
        output, contents = play([*begin, data])
        for reply in output.split(b"\r\n")[:-1]:
            if not (reply[:3].isdigit() and reply.isascii() and len(reply) <= 510):
                raise AssertionError(reply)
        for content in contents:
            if not is_crlf_clean(content):
                raise AssertionError(content)
        # DATA in the middle of a chunk is a case of its own: who did not wait for 354 is cut.
        if b"DATA" not in data.upper():
            bytewise = [data[at : at + 1] for at in range(len(data))]
            if play([*begin, *bytewise]) != (output, contents):
                raise AssertionError("chunks make a difference")


def check_parsers(data: bytes) -> None:
    """Each parser gives a value or its own error."""
    for utf8 in (False, True):
        with contextlib.suppress(AddressError):
            path, _ = split_path(data)
            mailbox = parse_path(path, utf8=utf8, null_ok=True)
            if mailbox is not None:
                check_wire(mailbox.address, utf8=utf8)
                mailbox.routing_domain.encode("ascii")
    with contextlib.suppress(ParameterError):
        read_sender(data, limit=1000, smtputf8=True, dsn=True)
    with contextlib.suppress(ParameterError):
        read_recipient(data, dsn=True, smtputf8=True)
    with contextlib.suppress(ProxyError):
        parse_v1(data)
    if len(data) >= 16:
        with contextlib.suppress(ProxyError):
            parse_v2(data[:16], data[16:])


def one_input(data: bytes) -> None:
    """What libFuzzer calls."""
    check_parsers(data)
    check_dialogue(data)


def main() -> None:
    """Fuzz until told to stop."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
