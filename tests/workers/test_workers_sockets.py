"""What workers are given: a socket each on one port, and sealed copies of keys."""

import os
import socket
from collections import Counter
from pathlib import Path

import pytest

from netfw.config.load import load_config
from netfw.workers.child import FIRST_DESCRIPTOR
from netfw.workers.sealed_files import path_of_descriptor, sealed_copy
from netfw.workers.sockets import Inheritance, close_all, listening_sockets


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_each_worker_has_a_socket_on_the_same_port(address: str) -> None:
    """And the kernel puts connections into all of them."""
    sockets = listening_sockets(address, 0, 3)
    try:
        (port,) = {sock.getsockname()[1] for sock in sockets}
        clients = [socket.create_connection((address, port)) for _ in range(60)]
        found: Counter[int] = Counter()
        for number, sock in enumerate(sockets):
            while True:
                try:
                    sock.accept()[0].close()
                except BlockingIOError:
                    break
                found[number] += 1
        close_all(clients)
        assert sum(found.values()) == 60
        assert len(found) == 3
    finally:
        close_all(sockets)


def test_a_port_that_another_proxy_has_is_refused() -> None:
    """Its sockets would share the port too: half of the connections would be theirs."""
    sockets = listening_sockets("127.0.0.1", 0, 2)
    try:
        with pytest.raises(OSError, match="in use"):
            listening_sockets("127.0.0.1", sockets[0].getsockname()[1], 2)
    finally:
        close_all(sockets)


def test_a_socket_that_stays_open_here_keeps_its_queue() -> None:
    """Closing another process's copy of it resets nobody."""
    (sock,) = listening_sockets("127.0.0.1", 0, 1)
    workers = sock.dup()
    with socket.create_connection(sock.getsockname()) as client:
        client.sendall(b"hello")
        workers.close()
        accepted, _ = sock.accept()
        assert accepted.recv(5) == b"hello"
        accepted.close()
    sock.close()


def test_a_sealed_copy_says_what_the_file_said_and_nobody_can_change_it(tmp_path: Path) -> None:
    """Not even a worker that was broken into."""
    path = tmp_path / "key.pem"
    path.write_bytes(b"secret")
    descriptor = sealed_copy(path)
    try:
        path.unlink()
        assert path_of_descriptor(descriptor).read_bytes() == b"secret"
        with pytest.raises(PermissionError):
            os.write(descriptor, b"x")
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_the_configuration_of_a_worker_points_to_what_it_is_given(tmp_path: Path) -> None:
    """Descriptors in the order of the listeners, then certificates and keys."""
    for name in ("cert.pem", "cert.key"):
        (tmp_path / name).write_text(name)
    file = tmp_path / "proxy.yaml"
    file.write_text(
        "listeners:\n"
        "  - {name: a, address: 127.0.0.1, port: 0}\n"
        "  - {name: b, type: HTTPS, address: 127.0.0.1, port: 0, certificate: cert.pem, private_key: cert.key}\n"
        "policy: {file: policy.yaml}\nworkers: 2\nlimits: {connections: 100}\n"
    )
    inheritance = Inheritance(load_config(file, with_files=False))
    inheritance.open()
    try:
        assert inheritance.places == ((0, 0, FIRST_DESCRIPTOR), (1, 0, FIRST_DESCRIPTOR + 1))
        first, second = inheritance.descriptors(1), inheritance.descriptors(2)
        assert len(first) == 4
        assert set(first) & set(second) == set(first[2:])
        assert len({port for _, port in inheritance.ports}) == 2
        section = inheritance.configuration.listeners[1]
        assert inheritance.files == {
            str(section.certificate): FIRST_DESCRIPTOR + 2,
            str(section.private_key): FIRST_DESCRIPTOR + 3,
        }
        assert path_of_descriptor(first[3]).read_text() == "cert.key"
        (tmp_path / "cert.key").write_text("another key")
        again = load_config(file, with_files=False)
        inheritance.reconfigure(again, inheritance.copies(again))
        assert path_of_descriptor(inheritance.descriptors(1)[3]).read_text() == "another key"
        assert path_of_descriptor(first[3]).read_text() == "cert.key"
        first = inheritance.descriptors(1)
        assert inheritance.configuration.limits.connections == 79
        inheritance.open()
        assert inheritance.descriptors(1) == first
    finally:
        inheritance.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first[0])
