"""The admin surface over real sockets, each test with a reactor of its own."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import CannotListenError
from zope.interface.verify import verifyObject

from netfw.admin.server import CONNECTION_LIMIT, CONTENT_LIMIT, AdminSite, admin_services
from netfw.admin.status import ProcessStatus, State
from netfw.config.model import AdminSection
from netfw.telemetry.metrics import Metrics


class UnixConnection(HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Server:
    """An admin surface, and a way to talk to it from a thread while its reactor runs."""

    def __init__(self, directory: Path) -> None:
        self.reactor = EPollReactor()
        self.path = directory / "run" / "admin.sock"
        self.status = ProcessStatus(name="test-proxy", now=lambda: 1000.0)
        self.status.state = State.READY
        self.reloads: list[Deferred[dict[str, Any]]] = []
        self.reload: Callable[[], Deferred[dict[str, Any]]] = lambda: succeed(
            {"ok": True, "generation": 2, "problems": []}
        )
        self.metrics = Metrics()
        self.site = AdminSite(self.status, lambda: self.reload(), self.metrics, reactor=self.reactor)
        section = AdminSection(socket=self.path, address=ip_address("127.0.0.1"), port=0)
        self.services = admin_services(section, self.site, self.reactor)
        self.failures: list[BaseException] = []

    def run(self, talk: Callable[[], None]) -> None:
        """Start, run `talk` in a thread, stop."""

        def body() -> None:
            try:
                talk()
            except BaseException as error:
                self.failures.append(error)
            finally:
                self.reactor.callFromThread(stop)

        def stop() -> None:
            gatherResults([service.stopService() for service in self.services]).addBoth(lambda _: self.reactor.stop())

        for service in self.services:
            service.startService()
        thread = threading.Thread(target=body)
        self.reactor.callWhenRunning(thread.start)
        guard = self.reactor.callLater(30, self.reactor.stop)
        self.reactor.run(installSignalHandlers=False)
        if guard.active():
            guard.cancel()
        thread.join(10)
        for failure in self.failures:
            raise failure

    @property
    def port(self) -> int:
        return self.services[1].address.port

    def unix(self) -> UnixConnection:
        return UnixConnection(self.path)

    def tcp(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    yield Server(tmp_path)


def ask(
    connection: HTTPConnection, method: str, path: str, fields: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[HTTPResponse, bytes]:
    connection.request(method, path, body=body, headers=fields or {})
    response = connection.getresponse()
    content = response.read()
    return response, content


def test_services_are_services(server: Server) -> None:
    """The pieces fit Twisted's application."""
    for service in server.services:
        verifyObject(IService, service)


def test_pages(server: Server) -> None:
    """Each page answers on both sockets, with the right type, and says nothing about its software."""
    pages = {
        "/healthz": ("text/plain; charset=utf-8", b"ok\n"),
        "/livez": ("text/plain; charset=utf-8", b"ok\n"),
        "/readyz": ("text/plain; charset=utf-8", b"ready\n"),
        "/metrics": ("text/plain; version=0.0.4; charset=utf-8", None),
        "/status": ("application/json", None),
    }

    def talk() -> None:
        for connection in (server.unix(), server.tcp()):
            for path, (content_type, content) in pages.items():
                response, body = ask(connection, "GET", path)
                assert response.status == 200
                assert response.headers["content-type"] == content_type
                assert response.headers["x-content-type-options"] == "nosniff"
                assert response.headers["cache-control"] == "no-store"
                assert response.headers["server"] is None
                assert content in (None, body)
                head, nothing = ask(connection, "HEAD", path)
                assert (head.status, nothing) == (200, b"")
                assert int(head.headers["content-length"]) >= len(content or b"x")
            connection.close()

    server.run(talk)


def test_status(server: Server) -> None:
    """The status is the source's, as JSON."""
    server.status.part("generation", lambda: 7)
    server.status.part("listeners", lambda: [{"name": "main", "address": "127.0.0.1:3128"}])

    def talk() -> None:
        _, body = ask(server.unix(), "GET", "/status")
        status = json.loads(body)
        assert (status["name"], status["state"], status["generation"], status["pid"]) == (
            "test-proxy",
            "ready",
            7,
            os.getpid(),
        )

    server.run(talk)


@pytest.mark.parametrize(
    ("state", "health", "readiness"),
    [(State.STARTING, 200, 503), (State.READY, 200, 200), (State.DRAINING, 503, 503)],
)
def test_health_and_readiness(server: Server, state: State, health: int, readiness: int) -> None:
    """Health fails while draining only; readiness also before the start is over."""
    server.status.state = state

    def talk() -> None:
        connection = server.unix()
        assert ask(connection, "GET", "/healthz")[0].status == health
        assert ask(connection, "GET", "/readyz")[0].status == readiness

    server.run(talk)


def test_readiness_names_each_check(server: Server) -> None:
    """One that does not hold makes it 503, whatever the state; what is said is one printable line each."""
    holds = [True]
    server.status.check("policy", lambda: (True, "egr\u00e9ss\nx"))
    server.status.check("ca", lambda: (holds[0], "ends soon"))

    def talk() -> None:
        connection = server.unix()
        response, body = ask(connection, "GET", "/readyz")
        assert (response.status, body) == (200, b"ready\npolicy: ok, egr?ss?x\nca: ok, ends soon\n")
        holds[0] = False
        response, body = ask(connection, "GET", "/readyz")
        assert (response.status, body) == (503, b"not ready\npolicy: ok, egr?ss?x\nca: FAILED, ends soon\n")
        server.status.state = State.DRAINING
        assert ask(connection, "GET", "/readyz")[1].startswith(b"draining\n")

    server.run(talk)


def test_reload(server: Server) -> None:
    """200 when the policy was taken, 409 with its problems when not, 500 without a word of the cause on a bug."""
    answers: list[Any] = [
        succeed({"ok": True, "generation": 8, "problems": []}),
        succeed({"ok": False, "generation": 8, "problems": ["rules[0]: no action"]}),
        ZeroDivisionError("secret"),
    ]

    def reload() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    server.reload = reload

    def talk() -> None:
        connection = server.unix()
        response, body = ask(connection, "POST", "/reload")
        assert (response.status, json.loads(body)) == (200, {"ok": True, "generation": 8, "problems": []})
        response, body = ask(connection, "POST", "/reload")
        assert (response.status, json.loads(body)["problems"]) == (409, ["rules[0]: no action"])
        response, body = ask(connection, "POST", "/reload")
        assert response.status == 500
        assert b"secret" not in body
        assert response.headers["content-type"] == "application/json"
        assert response.headers["server"] is None

    server.run(talk)


def test_one_reload_at_a_time(server: Server) -> None:
    """A second one is told so; the first one's answer still comes; then it may be asked again."""
    running: list[Deferred[dict[str, Any]]] = []

    def reload() -> Deferred[dict[str, Any]]:
        running.append(Deferred())
        return running[-1]

    server.reload = reload
    result = {"ok": True, "generation": 9, "problems": []}

    def talk() -> None:
        first, second = server.unix(), server.unix()
        first.request("POST", "/reload")
        while not running:
            ask(second, "GET", "/healthz")
        assert ask(second, "POST", "/reload")[0].status == 409
        server.reactor.callFromThread(running[0].callback, result)
        response = first.getresponse()
        assert (response.status, json.loads(response.read())) == (200, result)
        second.request("POST", "/reload")
        while len(running) < 2:
            ask(first, "GET", "/healthz")
        server.reactor.callFromThread(running[1].callback, result)
        assert second.getresponse().status == 200

    server.run(talk)


def test_a_reload_outlives_who_asked(server: Server) -> None:
    """A client that leaves neither cancels the reload nor blocks the next."""
    running: list[Deferred[dict[str, Any]]] = []

    def reload() -> Deferred[dict[str, Any]]:
        running.append(Deferred())
        return running[-1]

    server.reload = reload

    def talk() -> None:
        first, second = server.unix(), server.unix()
        first.request("POST", "/reload")
        while not running:
            ask(second, "GET", "/healthz")
        first.close()
        for _ in range(5):
            ask(second, "GET", "/healthz")
        assert not running[0].called
        server.reactor.callFromThread(running[0].callback, {"ok": True})
        ask(second, "GET", "/healthz")
        second.request("POST", "/reload")
        third = server.unix()
        while len(running) < 2:
            ask(third, "GET", "/healthz")
        server.reactor.callFromThread(running[1].callback, {"ok": True})
        assert second.getresponse().status == 200

    server.run(talk)


def test_what_is_for_operators_is_not_shown_over_tcp(server: Server) -> None:
    """Who asked for what is in files of mode 0640: any user of the machine may connect to the port."""
    server.site.pages.add_page(b"/busiest", lambda: succeed({"clients": ["10.0.0.1"]}))
    server.site.pages.add_page(b"/pins", lambda: {"clients": ["10.0.0.1"]})

    def talk() -> None:
        for page in ("/busiest", "/pins"):
            response, body = ask(server.unix(), "GET", page)
            assert (response.status, json.loads(body)) == (200, {"clients": ["10.0.0.1"]})
            response, body = ask(server.tcp(), "GET", page)
            assert response.status == 403
            assert b"10.0.0.1" not in body
            assert "Unix socket only" in json.loads(body)["problems"][0]

    server.run(talk)


def test_no_reload_over_tcp(server: Server) -> None:
    """A loopback port is open to every user of the machine: it reads, it does not change."""
    server.reload = lambda: pytest.fail("reloaded")

    def talk() -> None:
        response, body = ask(server.tcp(), "POST", "/reload")
        assert (response.status, json.loads(body)["ok"]) == (403, False)

    server.run(talk)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:9901"}, 200),
        ({"Host": "127.0.0.1:9901"}, 200),
        ({"Host": "127.9.9.9"}, 200),
        ({"Host": "[::1]:9901"}, 200),
        ({"Host": "attacker.example:9901"}, 421),
        ({"Host": "localhost.attacker.example"}, 421),
        ({"Host": "127.0.0.1.attacker.example"}, 421),
        ({"Host": "10.0.0.1"}, 421),
        ({"Host": "0.0.0.0"}, 421),
        ({"Host": "127.0.0.1@attacker.example"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": "2130706433"}, 421),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:9901"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
def test_browsers_are_kept_out(server: Server, fields: dict[str, str], status: int) -> None:
    """Only a loopback Host is served, and no page's script, on either socket."""

    def talk() -> None:
        for connection in (server.unix(), server.tcp()):
            assert ask(connection, "GET", "/status", fields)[0].status == status

    server.run(talk)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n", b"400"),
        (b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET //healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"DELETE /status HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
        (b"BREW /status HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
        (b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"GET /reload HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
    ],
)
def test_odd_requests(server: Server, head: bytes, status: bytes) -> None:
    """Odd requests get a plain refusal that repeats nothing of them and names no software."""

    def talk() -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(head)
            answer = client.recv(65536)
            assert answer.split(b" ", 2)[1] == status
            assert b"Twisted" not in answer
            assert b"attacker" not in answer

    server.run(talk)


def test_a_path_is_not_reflected(server: Server) -> None:
    """Nothing of the request comes back."""

    def talk() -> None:
        _, body = ask(server.tcp(), "GET", "/%3Cscript%3Ealert(1)%3C/script%3E")
        assert body == b"no such page\n"

    server.run(talk)


@pytest.mark.parametrize("chunked", [False, True])
def test_content_has_a_cap(server: Server, chunked: bool) -> None:
    """At the limit it is taken, one byte more is 413 and the end of the connection."""
    server.reload = lambda: succeed({"ok": True})
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d"

    def post(size: int) -> bytes:
        head = b"POST /reload HTTP/1.1\r\nHost: localhost\r\n" + (framing if chunked else framing % size) + b"\r\n\r\n"
        content = b"x" * size
        if chunked:
            content = b"%x\r\n%b\r\n0\r\n\r\n" % (size, content)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(10)
            client.connect(str(server.path))
            client.sendall(head + content)
            answer = b""
            while not answer.endswith((b"}\n", b"\r\n\r\n")):
                piece = client.recv(65536)
                if not piece:
                    break
                answer += piece
            return answer

    def talk() -> None:
        assert b" 200 " in post(CONTENT_LIMIT).split(b"\r\n")[0]
        refused = post(CONTENT_LIMIT + 1)
        assert refused.startswith(b"HTTP/1.1 413 ")
        assert refused.count(b"HTTP/1.1") == 1

    server.run(talk)


@pytest.mark.parametrize("given", [False, True], ids=["own socket", "given socket"])
def test_connections_have_a_cap(server: Server, given: bool) -> None:
    """Those too many wait, and none is reset: each is answered when another has left. The loopback port has its own."""
    if given:
        server.path.parent.mkdir()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(server.path))
        listening.listen(50)
        section = AdminSection(socket=server.path, address=ip_address("127.0.0.1"), port=0)
        server.services = admin_services(section, server.site, server.reactor, given_socket=listening)

    def talk() -> None:
        held = []
        for _ in range(CONNECTION_LIMIT):
            connection = server.unix()
            assert ask(connection, "GET", "/healthz")[0].status == 200
            held.append(connection)
        waiting = []
        for _ in range(20):
            extra = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            extra.connect(str(server.path))
            extra.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            waiting.append(extra)
        waiting[0].settimeout(0.1)
        with pytest.raises(TimeoutError):
            waiting[0].recv(1)
        assert ask(server.tcp(), "GET", "/healthz")[0].status == 200
        for extra in waiting:
            # Half-closed and over: what an editor leaves behind makes room as well.
            held[-1].sock.shutdown(socket.SHUT_WR)
            extra.settimeout(20)
            assert extra.recv(100).startswith(b"HTTP/1.1 200 ")
            extra.close()
            held.pop().close()
        for connection in held:
            connection.close()

    server.run(talk)


def test_no_clock_ticks_when_nobody_asks(server: Server) -> None:
    """An idle admin surface leaves the reactor asleep."""
    seen: list[Any] = []

    def talk() -> None:
        done = threading.Event()
        server.reactor.callFromThread(lambda: (seen.extend(server.reactor.getDelayedCalls()), done.set()))
        assert done.wait(10)

    server.run(talk)
    assert len(seen) == 1  # this test's own guard


def test_the_sockets_mode_and_its_end(server: Server) -> None:
    """0660 while it listens; the file goes when the service stops."""

    def talk() -> None:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o660

    server.run(talk)
    assert not server.path.exists()


def test_a_left_over_socket_is_replaced(server: Server) -> None:
    """A file behind which nobody listens is no obstacle."""
    server.path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(server.path))

    def talk() -> None:
        assert ask(server.unix(), "GET", "/healthz")[0].status == 200

    server.run(talk)


def test_a_living_socket_is_not_taken(server: Server, tmp_path: Path) -> None:
    """Somebody listens there: the start fails and the other one keeps its file."""
    other = Server(tmp_path)

    def talk() -> None:
        with pytest.raises(CannotListenError):
            other.services[0].startService()
        assert ask(server.unix(), "GET", "/healthz")[0].status == 200

    server.run(talk)


def test_what_is_no_socket_is_not_removed(server: Server) -> None:
    """A file of another kind stops the start and stays."""
    server.path.parent.mkdir()
    server.path.write_text("precious")
    with pytest.raises(CannotListenError):
        server.services[0].startService()
    assert server.path.read_text() == "precious"


def test_the_umask_is_put_back(server: Server) -> None:
    """Listening leaves the process's umask as it was."""
    before = os.umask(0o027)
    try:
        server.run(lambda: None)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_only_loopback(server: Server) -> None:
    """An address that others reach is refused when the services are made."""
    section = AdminSection(socket=None, address=ip_address("192.0.2.1"), port=9901)
    with pytest.raises(ValueError, match="loopback"):
        admin_services(section, server.site, server.reactor)


def test_nothing_asked_for_is_nothing_opened(server: Server) -> None:
    """An empty section has no services."""
    assert admin_services(AdminSection(None, None, None), server.site, server.reactor) == []
