"""`waypost run`: starts the relay and stays in the foreground; on the first start it makes an
account to try it with.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from relay.layout import Layout

if TYPE_CHECKING:
    from relay.cli.registry import Commands
    from relay.config import Config


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run", help="start the relay (what waypost does without a command)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; give the exit status."""
    from relay import log
    from relay.certificate_files import check_certificates
    from relay.cli.main import load_config
    from relay.process.hold import data_directory

    config = load_config(options)
    log.set_up("supervisor", config.node.log_level)
    check_certificates(config)
    with data_directory(Layout(config.data_dir)):
        return _serve(options, config)


def _serve(options: argparse.Namespace, config: Config) -> int:
    from relay.cli.door import open_door
    from relay.cli.main import config_path
    from relay.first_start import first_start
    from relay.process.handed_over import HandedOver, Manager
    from relay.process.supervisor import Supervisor, open_sockets

    manager = Manager(os.environ)
    sockets = open_sockets(config, HandedOver.of(os.environ))
    secret = None
    if _is_new(config):
        with open_door(options) as door:
            secret = first_start(door)
    path = config_path(options)

    def ready(seconds: float) -> None:
        manager.tell("READY=1")
        _welcome(config, secret, seconds)

    supervisor = Supervisor(
        config, str(path) if path else "", sockets, ready, lambda: manager.tell("STOPPING=1")
    )
    return supervisor.run()


def _is_new(config: Config) -> bool:
    """Tell whether nobody ever started here; PostgreSQL is asked only when there is no snapshot."""
    return not Layout(config.data_dir).snapshot.exists()


def _welcome(config: Config, secret: tuple[str, str] | None, seconds: float) -> None:
    """Say where to submit and where to look."""
    submission, admin = config.submission, config.admin
    print(f"Waypost is ready ({seconds:.1f} s).", flush=True)
    print(f"  submit   {submission.listen} (STARTTLS), {submission.tls_listen} (TLS)")
    print(f"  look     http://{admin.listen}/ (make a login: waypost operator add NAME)")
    print("           /metrics and /healthz need none, /api/v1/ takes an API key")
    print(f"  delivery {_delivery(config)}")
    if secret is not None:
        _introduce(config, *secret)
    print(flush=True)


def _delivery(config: Config) -> str:
    if config.delivery.mode == "sandbox":
        return (
            "sandbox: nothing leaves this machine; recipients at *.sandbox.test act out their name"
        )
    if config.delivery.mode == "smarthost":
        return f"through {config.delivery.smarthost}"
    return "to the MX of each recipient domain"


def _introduce(config: Config, login: str, password: str) -> None:
    """Show the first credential, once, and a line that sends a first mail with it."""
    host, _, port = config.submission.listen.rpartition(":")
    print(f"  login    {login}")
    print(f"  password {password}   (shown once; `waypost credential --help` makes others)")
    sender, recipient = "hello@example.test", "open@inbox.sandbox.test"
    mail = f"From: {sender}\\r\\nTo: {recipient}\\r\\nSubject: First\\r\\n\\r\\nHello\\r\\n"
    print("  a first mail, in one line:")
    print(
        f"    printf '{mail}' | curl -sSk --ssl-reqd smtp://{host}:{port} -u '{login}:{password}' "
        f"--mail-from {sender} --mail-rcpt {recipient} -T -"
    )
