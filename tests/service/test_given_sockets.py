"""Sockets from systemd: taken by the process they are meant for, and each to the listener whose address it has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from netfw.service.given_sockets import GivenSocket, GivenSocketsError, assign_given_sockets, take_given_sockets


@pytest.fixture
def open_socket():
    """Sockets that are closed when the test ends."""
    opened = []

    def make(family=socket.AF_INET, kind=socket.SOCK_STREAM, at=("127.0.0.1", 0), listen=True, v6_only=True):
        sock = socket.socket(family, kind)
        opened.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1) if family != socket.AF_UNIX else None
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
        sock.bind(at)
        if listen:
            sock.listen(5)
        return sock

    yield make
    for sock in opened:
        sock.close()


def port_of(sock: socket.socket) -> int:
    return sock.getsockname()[1]


def listener(port: int, name: str = "main", address: str = "127.0.0.1") -> dict:
    return {"name": name, "type": "HTTP", "address": address, "port": port}


def test_each_goes_to_the_listener_with_its_address_and_the_admin_surface_has_its_own(
    open_socket, configured, tmp_path
) -> None:
    """Whatever they are called, in whatever order they come."""
    one, two, admin_port = open_socket(), open_socket(), open_socket()
    admin = open_socket(socket.AF_UNIX, at=str(tmp_path / "admin.sock"))
    configuration = configured(
        listeners=[listener(port_of(one), "one"), listener(port_of(two), "two")],
        admin={"socket": "admin.sock", "address": "127.0.0.1", "port": port_of(admin_port)},
    )
    given = [GivenSocket("netfw.socket", sock) for sock in (admin, two, admin_port, one)]
    assigned = assign_given_sockets(given, configuration)
    assert assigned.listeners == [[one], [two]]
    assert assigned.admin_socket is admin
    assert assigned.admin_port is admin_port


def test_a_listener_without_a_port_takes_the_socket_with_its_name(open_socket, configured) -> None:
    """There is no port to find it by."""
    one, two = open_socket(), open_socket()
    configuration = configured(listeners=[listener(0, "one"), listener(0, "two")])
    assigned = assign_given_sockets([GivenSocket("two", two), GivenSocket("one", one)], configuration)
    assert assigned.listeners == [[one], [two]]


def test_a_socket_that_is_nobodys_is_refused(open_socket, configured) -> None:
    """Connections to it would wait for ever."""
    stranger = open_socket()
    configuration = configured(listeners=[listener(1)])
    with pytest.raises(GivenSocketsError, match=f"127.0.0.1:{port_of(stranger)}.*no listener's"):
        assign_given_sockets([GivenSocket("main", stranger)], configuration)


def test_more_sockets_than_processes_are_refused(open_socket, configured) -> None:
    """Nobody would accept from the rest."""
    one = open_socket()
    two = open_socket(at=("127.0.0.1", port_of(one)))
    given = [GivenSocket("a", one), GivenSocket("a", two)]
    configuration = configured(listeners=[listener(port_of(one))])
    with pytest.raises(GivenSocketsError, match="2 sockets, and there are 1 processes"):
        assign_given_sockets(given, configuration)
    assert assign_given_sockets(given, configured(listeners=[listener(port_of(one))], workers=2)).listeners == [
        [one, two]
    ]


def test_a_socket_for_both_families_is_refused(open_socket, configured) -> None:
    """An IPv4 client would come with an address that no rule on IPv4 fits."""
    sock = open_socket(socket.AF_INET6, at=("::", 0), v6_only=False)
    configuration = configured(listeners=[listener(port_of(sock), address="::")])
    with pytest.raises(GivenSocketsError, match="BindIPv6Only"):
        assign_given_sockets([GivenSocket("main", sock)], configuration)


def test_a_listener_whose_ports_a_store_chooses_is_given_none(open_socket, configured) -> None:
    """Closing it here would leave it open there, and clients would wait in it."""
    sock = open_socket()
    made = configured(listeners=[listener(port_of(sock))])
    chosen = replace(made.listeners[0], from_store=((port_of(sock), port_of(sock)),))
    configuration = replace(made, listeners=(chosen,))
    with pytest.raises(GivenSocketsError, match="has from_store"):
        assign_given_sockets([GivenSocket("main", sock)], configuration)


def test_sockets_for_another_process_are_left_alone() -> None:
    """As when a shell between the manager and the proxy did not exec."""
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "main", "HOME": "/"}
    assert take_given_sockets(environment, os.getpid()) == []
    assert environment == {"HOME": "/"}


PROGRAM = """
import os, socket, sys
from netfw.service.given_sockets import GivenSocketsError, take_given_sockets
kind = sys.argv[1]
if True:
    if kind == "listening":
        sock = socket.create_server(("127.0.0.1", 0))
    elif kind == "connected":
        sock, other = socket.socketpair()
    elif kind == "datagram":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    else:
        sock = open("/dev/null")
os.dup2(sock.fileno(), 3) if sock.fileno() != 3 else None
try:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    (given,) = take_given_sockets(environment, os.getpid())
    print("taken", given.name, given.place.split(":")[0], os.get_inheritable(3))
except GivenSocketsError as error:
    print("refused", error)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("listening", "taken x 127.0.0.1 False"),
        ("connected", "refused descriptor 3 is not a listening"),
        ("datagram", "refused descriptor 3 is not a listening"),
        ("file", "refused descriptor 3 was announced as a socket"),
    ],
)
def test_only_listening_stream_sockets_are_taken(kind: str, says: str) -> None:
    """In a process of its own: they begin at descriptor 3. Children do not inherit them."""
    command = [sys.executable, "-c", PROGRAM, kind]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert ended.stdout.startswith(says), (ended.stdout, ended.stderr)
