"""Our own addresses: those we send from, and those where we listen on the port of MX hosts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.delivery.mx.own import own_addresses


@pytest.mark.parametrize(
    ("doors", "address", "ours"),
    [
        (["192.0.2.1:25"], "192.0.2.1", True),
        (["192.0.2.1:2526"], "192.0.2.1", False),  # another port: not what MX hosts are asked at
        (["0.0.0.0:25"], "127.0.0.1", True),  # every address of this machine
        (["0.0.0.0:25"], "192.0.2.1", False),  # which this one is not
        (["[::]:25"], "127.0.0.1", True),
        (["", "127.0.0.1:2587"], "198.51.100.7", True),  # a source address
        (["[::1]:25"], "::1", True),
        (["0.0.0.0:25"], "127.0.0.2", True),
        (["0.0.0.0:25"], "0.0.0.0", True),  # noqa: S104  # a connection there comes back
        (["[::]:25"], "::", True),
        (["[::]:25"], "::1", True),
        (["[::]:25"], "2001:db8::1", False),
        (["0.0.0.0:25"], "::ffff:127.0.0.1", True),
        (["0.0.0.0:25"], "no address", False),
    ],
)
def test_whose_address_it_is(doors: list[str], address: str, ours: bool) -> None:
    assert (address in own_addresses(["198.51.100.7"], doors, 25)) is ours


NO_NETWORK = 77
MACHINE = """
ip link set lo up && ip link add outside type veth peer name inside && ip link set outside up &&
ip link set inside up || exit 77
for address in 192.0.2.1/24 192.0.2.2/24; do ip addr add $address dev outside || exit 77; done
for address in 2001:db8::1/64 2001:db8::2/64; do
    ip addr add $address dev outside nodad || exit 77
done
ip route add default via 192.0.2.254 && ip -6 route add default via 2001:db8::ffff || exit 77
for version in 4 6; do
    echo "$NONLOCAL" > /proc/sys/net/ipv$version/ip_nonlocal_bind || exit 77
done
exec "$PYTHON" -c "$SCRIPT"
"""
SCRIPT = """
from relay.delivery.mx.own import own_addresses
ours = own_addresses([], ["0.0.0.0:25"], 25)
for address in (
    "127.0.0.1", "127.0.0.2", "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2",
    "::1", "2001:db8::1", "2001:db8::2",
    "192.0.2.9", "198.51.100.7", "::ffff:192.0.2.9", "2001:db8::9", "2001:db8:1::1",
):
    if address in ours:
        print(address)
"""


@pytest.mark.parametrize("nonlocal_bind", ["0", "1"])
def test_an_address_that_can_be_bound_need_not_be_ours(nonlocal_bind: str) -> None:
    """On a machine of its own, with two addresses of each kind on one interface; with
    `ip_nonlocal_bind`, as load balancers set it, any address can be bound there.
    """
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("ip") is None:
        pytest.skip("needs the programs unshare and ip")
    done = subprocess.run(
        [unshare, "-rn", "sh", "-c", MACHINE],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "NONLOCAL": nonlocal_bind,
            "PYTHON": sys.executable,
            "SCRIPT": SCRIPT,
        },
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == NO_NETWORK or "unshare failed" in done.stderr:
        pytest.skip(f"no network namespace can be made here: {done.stderr.strip()[-200:]}")
    assert done.stderr == ""
    assert done.stdout.split() == [
        "127.0.0.1",
        "127.0.0.2",
        "192.0.2.1",
        "192.0.2.2",
        "::ffff:192.0.2.2",
        "::1",
        "2001:db8::1",
        "2001:db8::2",
    ]
