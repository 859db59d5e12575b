"""`waypost rewrite`, `token` and `explain`: what tracking does to a mail, without a running server.

The first two use the installation's key ring where there is one; without one they make tokens with
a key of their own, good for looking at the result only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.errors import WaypostError

if TYPE_CHECKING:
    from relay.cli.registry import Commands
    from relay.mail.keyring import KeyRing
    from tracking.plan import Plan

_DELIVERY, _ACCOUNT, _DOMAIN = 1, 1, 1


class RewriteError(WaypostError):
    """A file that cannot be read or written."""


def add(commands: Commands) -> None:
    """Add the three commands."""
    rewrite = commands.add_parser("rewrite", help="rewrite a mail as delivery would")
    rewrite.add_argument("mail", metavar="IN.eml", help="- is standard input")
    rewrite.add_argument("-o", "--output", metavar="OUT.eml", default="-")
    _switches(rewrite)
    rewrite.set_defaults(run=_rewrite)
    token = commands.add_parser("token", help="read tracked links: JSON lines")
    token.add_argument("urls", nargs="+", metavar="URL")
    token.set_defaults(run=_token)
    explain = commands.add_parser("explain", help="say what tracking does to a mail, and why")
    explain.add_argument("mail", metavar="IN.eml", help="- is standard input")
    explain.add_argument("--json", action="store_true")
    _switches(explain)
    explain.set_defaults(run=_explain)


def _switches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", metavar="URL", help="tracking host (default: the settings')")
    parser.add_argument("--no-opens", action="store_true", help="no pixel")
    parser.add_argument("--no-clicks", action="store_true", help="no links")
    parser.add_argument("--no-outlook", action="store_true", help="leave conditional comments")
    parser.add_argument("--text-links", action="store_true", help="links in plain-text parts too")


def _rewrite(options: argparse.Namespace) -> int:
    from tracking.explain import MESSAGE_RULES, sentence
    from tracking.render import render
    from tracking.tokens import Identity, Mint

    message = _read(options.mail)
    plan = _plan(options, message)
    if plan.skipped:
        because = sentence(plan.skipped, MESSAGE_RULES)
        print(f"left as it is: {because} ({plan.skipped})", file=sys.stderr)
    mint = Mint(_ring(options), plan.host)
    who = Identity(delivery=_DELIVERY, account=_ACCOUNT, domain=_DOMAIN, campaign=1)
    rewritten = b"".join(render(message, plan, mint, who, opens=True, clicks=True))
    if options.output == "-":
        sys.stdout.buffer.write(rewritten)
        return 0
    try:
        Path(options.output).write_bytes(rewritten)
    except OSError as problem:
        raise RewriteError(f"{options.output}: {problem.strerror}") from None
    return 0


def _token(options: argparse.Namespace) -> int:
    from tracking.tokens import BadTokenError, read
    from tracking.urls import BadDestinationError, destination

    ring, status = _ring(options), 0
    for url in options.urls:
        try:
            parts = urlsplit(url)
            text = parts.path.rpartition("/")[2].removesuffix(".gif")
            token = read(text, (parts.hostname or "").lower(), ring)
            leads_to = destination(token.destination).url if token.destination else ""
        except (BadTokenError, BadDestinationError, ValueError):  # ValueError: no URL at all
            print(json.dumps({"url": url, "error": "not a token of this key ring and host"}))
            status = 1
            continue
        identity = token.identity
        print(
            json.dumps(
                {
                    "url": url,
                    "kind": token.kind.name.lower(),
                    "delivery": identity.delivery,
                    "account": identity.account,
                    "domain": identity.domain,
                    "campaign": identity.campaign,
                    "link": token.link,
                    "destination": leads_to,
                }
            )
        )
    return status


def _explain(options: argparse.Namespace) -> int:
    import msgspec

    from tracking.explain import as_text, explain

    story = explain(_plan(options, _read(options.mail)))
    print(msgspec.json.encode(story).decode() if options.json else as_text(story))
    return 0


def _plan(options: argparse.Namespace, message: bytes) -> Plan:
    from relay.cli.main import load_config
    from tracking.plan import Switches, compile_plan

    base_url = options.base_url or load_config(options).tracking.base_url
    switches = Switches(
        opens=not options.no_opens,
        clicks=not options.no_clicks,
        outlook=not options.no_outlook,
        plain_text=options.text_links,
    )
    try:
        return compile_plan(message, switches, base_url=base_url)
    except ValueError as problem:
        raise RewriteError(str(problem)) from None


def _ring(options: argparse.Namespace) -> KeyRing:
    from relay.cli.main import load_config
    from relay.layout import Layout
    from relay.mail.keyring import KeyRing

    path = Layout(load_config(options).data_dir).keyring
    return KeyRing.load(path) if path.exists() else KeyRing.of(b"for looking at the result only..")


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as problem:
        raise RewriteError(f"{name}: {problem.strerror}") from None
