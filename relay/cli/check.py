"""`waypost check`: are the settings usable, and which are in force (secrets masked).

`waypost check DOMAIN`: what a sending domain lacks so that its mail is believed; exit status 1 when
something has failed, 3 when nobody could tell.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.checking.domain import Wanted
    from relay.cli.registry import Commands
    from relay.config import Config


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check", help="check the settings and print those in force, or check a sending domain"
    )
    parser.add_argument("domain", nargs="?", help="a sending domain: DNS, certificate, port 25")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--try-domain",
        default="gmail.com",
        metavar="DOMAIN",
        help="whose MX hosts are tried to see whether port 25 is open (default: gmail.com)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the effective settings; a setting that cannot work is an error before that."""
    if options.domain:
        return _check_domain(options)
    from relay.certificate_files import check_certificates
    from relay.cli.main import config_path, load_config
    from relay.config_file import masked

    config = load_config(options)
    check_certificates(config)
    shown = masked(config)
    if options.json:
        print(json.dumps(shown, indent=2))
        return 0
    print(f"# {config_path(options) or 'no settings file: defaults and environment'}")
    for section, values in shown.items():
        print(f"\n[{section}]")
        for key, value in values.items():
            print(f"{key} = {json.dumps(value)}")
    return 0


def _check_domain(options: argparse.Namespace) -> int:
    """Check what the world sees of a sending domain; print what to publish."""
    import asyncio

    from relay.checking.domain import FAILED, UNKNOWN, Finding, check_domain
    from relay.cli.main import load_config
    from relay.delivery.mx.resolver import Resolver, ResolverSettings

    config = load_config(options)
    wanted = _wanted(options, config)

    async def findings() -> list[Finding]:
        dns = Resolver(ResolverSettings(nameservers=config.delivery.nameservers))
        return [one async for one in check_domain(dns, wanted)]

    found = asyncio.run(findings())
    if options.json:
        shown = [
            {"what": one.what, "state": one.state, "words": one.words, "publish": one.publish}
            for one in found
        ]
        print(json.dumps(shown, indent=2))
    else:
        for one in found:
            print(f"{one.state:8} {one.what:16} {one.words}")
            for line in one.publish:
                print(f"{'':25} publish: {line}")
    states = {one.state for one in found}
    return 1 if FAILED in states else (3 if UNKNOWN in states else 0)


def _wanted(options: argparse.Namespace, config: Config) -> Wanted:
    import ssl

    from relay.checking.domain import Wanted
    from relay.cli.door import open_door, part

    with open_door(options) as door:
        entry = door.ask("GET", f"/domains/{part(options.domain)}")
        records = door.ask("GET", f"/domains/{part(options.domain)}/dns")["records"]
    lines: dict[str, tuple[str, ...]] = {}
    for one in records:
        lines[one["purpose"]] = (*lines.get(one["purpose"], ()), one["line"])
    delivery = config.delivery
    return Wanted(
        domain=entry["name"],
        hostname=config.node.hostname.lower(),
        return_path=entry["return_path"] or delivery.return_path_domain,
        tracking_url=entry["tracking_url"] or config.tracking.base_url,
        keys=[(one["name"], one["value"]) for one in records if one["purpose"] == "dkim"],
        records=lines,
        sources=config.sending_addresses,
        direct=delivery.mode == "mx",
        unsubscribe=entry["unsubscribe"],
        port=delivery.mx_port,
        try_domain=options.try_domain,
        authorities=(
            ssl.create_default_context(cafile=delivery.authorities)
            if delivery.authorities
            else None
        ),
    )
