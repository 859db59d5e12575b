"""Sockets and news between a service manager and the supervisor."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from relay.process.handed_over import HandedOver, Manager


def listening() -> tuple[socket.socket, str]:
    """Give a listening socket and where it is."""
    made = socket.create_server(("127.0.0.1", 0))
    return made, f"127.0.0.1:{made.getsockname()[1]}"


def test_a_socket_is_taken_once_by_its_address_and_the_rest_is_named() -> None:
    (one, at), (other, elsewhere) = listening(), listening()
    handed = HandedOver([one, other])
    assert handed.take(at) is one
    assert handed.take(at) is None
    assert handed.take("127.0.0.1:1") is None
    assert [elsewhere.rpartition(":")[2] in each for each in handed.close()] == [True]
    assert other.fileno() == -1
    assert one.fileno() != -1
    one.close()


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    environment = {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDNAMES": "a:b"}
    assert HandedOver.of(environment).close() == []
    assert environment == {}
    assert HandedOver.of({}).close() == []
    assert HandedOver.of({"LISTEN_FDS": "no", "LISTEN_PID": str(os.getpid())}).close() == []


def test_the_manager_hears_how_far_the_service_is(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        environment = {"NOTIFY_SOCKET": path}
        service = Manager(environment)
        service.tell("READY=1")
        assert manager.recv(64) == b"READY=1"
    assert environment == {}
    service.tell("STOPPING=1")  # it is gone: nobody is told, nothing breaks
    Manager({}).tell("READY=1")
