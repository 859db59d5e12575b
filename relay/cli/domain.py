"""`waypost domain`: sending domains, their DKIM keys and the DNS records to publish."""

from __future__ import annotations

import argparse

from relay.cli.door import open_door, part
from relay.cli.output import add_json, as_json, record, table
from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("domain", help="sending domains, DKIM keys, DNS records")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="list sending domains")
    one.add_argument("--account", help="name or id")
    one.add_argument("--search", help="part of the name")
    add_json(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser("add", help="register a domain, make its keys, print its DNS records")
    one.add_argument("domain")
    one.add_argument("--account", required=True, help="name or id")
    add_json(one)
    one.set_defaults(run=_add)

    for verb, run, meaning in (
        ("show", _show, "show a domain"),
        ("dns", _dns, "print the DNS records to publish"),
        ("remove", _remove, "remove a domain and its keys; its statistics stay"),
        ("new-keys", _new_keys, "make another pair of DKIM keys, not in use yet"),
    ):
        one = verbs.add_parser(verb, help=meaning)
        one.add_argument("domain")
        add_json(one)
        one.set_defaults(run=run)

    for verb, run, meaning in (
        ("activate-key", _activate, "sign with this key from now on"),
        ("remove-key", _remove_key, "destroy a key, but not the last one in use"),
    ):
        one = verbs.add_parser(verb, help=meaning)
        one.add_argument("domain")
        one.add_argument("selector")
        add_json(one)
        one.set_defaults(run=run)

    one = verbs.add_parser("change", help="change a domain (tracking: see `waypost tracking`)")
    one.add_argument("domain")
    one.add_argument("--unsubscribe", choices=("yes", "no"), help="add List-Unsubscribe")
    one.add_argument("--unsubscribe-scope", choices=("account", "domain", "campaign"))
    one.add_argument("--tracking-url", help="such as https://t.shop.example; empty: the node's")
    one.add_argument("--return-path", help="domain of return paths; empty: the node's")
    one.add_argument("--privacy", choices=("full", "noaddress", "aggregate"))
    one.add_argument("--pool", help="of source addresses to send from; empty: as the node says")
    one.add_argument(
        "--failure-notices",
        choices=("inherit", "on", "off"),
        help="to senders that asked for nothing; inherit: as the account says",
    )
    add_json(one)
    one.set_defaults(run=_change)


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {"account": door.account(options.account), "search": options.search}
        found = door.pages("/domains", asked)
    if not options.json:
        for entry in found:
            for switch in ("opens", "clicks"):
                force = entry[f"effective_{switch}"]
                entry[switch] = f"{force['value']} ({force['level']})"
    table(options, found, "id account name opens clicks tracking_url privacy")


def _add(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {"name": options.domain, "account": door.account(options.account)}
        entry = door.ask("POST", "/domains", asked)
        answer = door.ask("GET", f"/domains/{part(entry['name'])}/dns")
    if options.json:
        as_json({"domain": entry, "dns": answer["records"]})
        return
    print(f"{entry['name']} is registered. Publish:\n")
    _print_records(answer["records"])


def _show(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        record(options, door.ask("GET", f"/domains/{part(options.domain)}"))


def _dns(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        answer = door.ask("GET", f"/domains/{part(options.domain)}/dns")
    if options.json:
        as_json(answer)
    else:
        _print_records(answer["records"])


def _print_records(records: list[dict[str, str]]) -> None:
    for found in records:
        remark = f" ({found['remark']})" if found["remark"] else ""
        wanted = "" if found["required"] else ", optional"
        print(f"; {found['purpose']}{wanted}{remark}")
        print(found["line"])


def _remove(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        door.ask("DELETE", f"/domains/{part(options.domain)}")
    record(options, {"removed": options.domain})


def _new_keys(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        entry = door.ask("POST", f"/domains/{part(options.domain)}/dkim")
    table(options, entry["dkim"], "selector algorithm active record")


def _activate(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        path = f"/domains/{part(options.domain)}/dkim/{part(options.selector)}/activate"
        entry = door.ask("POST", path)
    table(options, entry["dkim"], "selector algorithm active record")


def _remove_key(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        path = f"/domains/{part(options.domain)}/dkim/{part(options.selector)}"
        entry = door.ask("DELETE", path)
    table(options, entry["dkim"], "selector algorithm active record")


def _change(options: argparse.Namespace) -> None:
    asked = {
        "unsubscribe": None if options.unsubscribe is None else options.unsubscribe == "yes",
        "unsubscribe_scope": options.unsubscribe_scope,
        "tracking_url": options.tracking_url,
        "return_path": options.return_path,
        "privacy": options.privacy,
        "pool": options.pool,
        "failure_notices": options.failure_notices,
    }
    with open_door(options) as door:
        record(options, door.ask("PATCH", f"/domains/{part(options.domain)}", asked))
