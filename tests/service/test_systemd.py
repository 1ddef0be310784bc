"""What is told to the service manager, over a real datagram socket."""

import os
import socket
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from netfw.service.systemd import Notifier
from netfw.transport.deadlines import Deadlines


@pytest.fixture
def manager(tmp_path: Path):
    """The manager's end, and an environment that names it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = tmp_path / "notify"
    sock.bind(str(path))
    sock.settimeout(5)
    yield sock, {"NOTIFY_SOCKET": str(path), "HOME": "/"}
    sock.close()


def test_ready_reloading_and_stopping_are_told(manager) -> None:
    """Each in one datagram, with a line for people; the end says how long it may take."""
    sock, environment = manager
    notifier = Notifier(environment, os.getpid())
    notifier.ready("serving by policy generation 1")
    assert sock.recv(4096) == b"READY=1\nSTATUS=serving by policy generation 1"
    notifier.reloading()
    lines = sock.recv(4096).split(b"\n")
    assert lines[0] == b"RELOADING=1"
    assert lines[1].startswith(b"MONOTONIC_USEC=")
    notifier.stopping(30.0)
    assert b"EXTEND_TIMEOUT_USEC=45000000" in sock.recv(4096).split(b"\n")
    notifier.close()


def test_the_variables_are_not_left_to_children(manager) -> None:
    """A worker that found them would speak for the proxy."""
    _, environment = manager
    Notifier({**environment}, os.getpid())
    Notifier(environment, os.getpid())
    assert environment == {"HOME": "/"}


def test_a_status_cannot_smuggle_a_second_variable(manager) -> None:
    """It may hold a policy's own words."""
    sock, environment = manager
    notifier = Notifier(environment, os.getpid())
    notifier.status("bad\nMAINPID=1")
    assert sock.recv(4096).count(b"\n") == 0
    notifier.close()


def test_an_abstract_socket_is_found() -> None:
    """Its name begins with @ in the variable and with a zero byte for the kernel."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0netfw-test-{os.getpid()}")
        sock.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": f"@netfw-test-{os.getpid()}"}, os.getpid())
        notifier.ready("x")
        assert sock.recv(100).startswith(b"READY=1")
        notifier.close()


def test_signs_of_life_come_three_times_in_the_watchdogs_time(manager) -> None:
    """Until it ends."""
    sock, environment = manager
    clock = Clock()
    deadlines = Deadlines(clock)
    notifier = Notifier({**environment, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, os.getpid())
    assert notifier.watchdog == 30.0
    notifier.keep_alive(deadlines)
    for _ in range(35 * 4):
        clock.advance(0.25)
    told = 0
    sock.setblocking(False)
    while True:
        try:
            assert sock.recv(100) == b"WATCHDOG=1"
        except BlockingIOError:
            break
        told += 1
    assert told == 4  # at 0, 10, 20 and 30 seconds
    notifier.close()
    clock.advance(20)
    assert len(deadlines) == 0


@pytest.mark.parametrize(
    "more",
    [{"WATCHDOG_PID": "1", "WATCHDOG_USEC": "1000000"}, {"WATCHDOG_USEC": "soon"}, {}],
    ids=["another's", "no number", "none"],
)
def test_no_sign_of_life_is_given_to_who_expects_none(manager, more) -> None:
    """A watchdog is for the process that it names."""
    _, environment = manager
    deadlines = Deadlines(Clock())
    notifier = Notifier({**environment, **more}, os.getpid())
    notifier.keep_alive(deadlines)
    assert len(deadlines) == 0


def test_without_a_manager_or_with_one_that_is_gone_nothing_fails(tmp_path: Path) -> None:
    """The proxy serves in any case."""
    silent = Notifier({}, os.getpid())
    assert not silent.is_heard
    silent.ready("x")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, os.getpid()).ready("x")
