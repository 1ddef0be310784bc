"""The service: bound, serving, reloaded by a signal, drained; over real sockets in a private reactor."""

from __future__ import annotations

import json
import os
import signal

import yaml
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from twisted.internet.task import deferLater

from netfw.service.assembly import assemble
from netfw.testing.proxy_process import policy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Talk(Protocol):
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.data = b""
        self.is_over = False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason=None) -> None:
        self.is_over = True


class Origin(ServerFactory):
    """Accepts, and answers when it is told to."""

    noisy = False

    def __init__(self) -> None:
        self.accepted: list[Talk] = []

    def buildProtocol(self, addr) -> Talk:
        self.accepted.append(Talk())
        return self.accepted[-1]


class Connecting(ClientFactory):
    noisy = False

    def __init__(self) -> None:
        self.connected: Deferred[Talk] = Deferred()

    def buildProtocol(self, addr) -> Talk:
        talk = Talk()
        talk.connectionMade = lambda: self.connected.callback(talk)
        return talk

    def clientConnectionFailed(self, connector, reason) -> None:
        self.connected.errback(reason)


class Running:
    """A started service and what talks to it."""

    def __init__(self, reactor, configuration) -> None:
        self.reactor = reactor
        self.service = assemble(configuration, reactor)
        self.service.privilegedStartService()
        self.service.startService()
        self.port = self.service.listeners[0].socket.port
        self.origins = Origin()
        self.listening = reactor.listenTCP(0, self.origins, interface="127.0.0.1")
        self.get = b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % self.listening.getHost().port

    async def client(self) -> Talk:
        connecting = Connecting()
        self.reactor.connectTCP("127.0.0.1", self.port, connecting)
        return await connecting.connected

    async def until(self, condition) -> None:
        for _ in range(2000):
            if condition():
                return
            await deferLater(self.reactor, 0.005, lambda: None)
        raise AssertionError("not in time")

    async def end(self, *talks: Talk) -> None:
        await self.service.stopService()
        await self.listening.stopListening()
        for talk in [*talks, *self.origins.accepted]:
            talk.transport.abortConnection()
            await self.until(lambda talk=talk: talk.is_over)


def records(tmp_path, name: str = "records.jsonl") -> list[dict]:
    return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]


def test_a_whole_life(run, configured, tmp_path):
    """Bound, serving, stopped: the port is closed, the idle connection too, and the record is written."""

    async def scenario(reactor):
        running = Running(reactor, configured())
        client = await running.client()
        client.transport.write(running.get)
        await running.until(lambda: running.origins.accepted and running.origins.accepted[0].data)
        running.origins.accepted[0].transport.write(OK)
        await running.until(lambda: client.data.endswith(b"hi"))
        assert running.service.plane.admission.open == 1
        await running.end()
        await running.until(lambda: client.is_over)
        try:
            late = await running.client()
        except Exception:
            late = None
        assert late is None

    run(scenario)
    assert [record["http_status_code"] for record in records(tmp_path)] == [200]


def test_draining_lets_exchanges_finish(run, configured, tmp_path):
    """What is under way is answered; then the service is stopped."""

    async def scenario(reactor):
        running = Running(reactor, configured())
        client = await running.client()
        client.transport.write(running.get)
        await running.until(lambda: running.origins.accepted and running.origins.accepted[0].data)
        stopped = running.service.stopService()
        fired = []
        stopped.addCallback(fired.append)
        await deferLater(reactor, 0.3, lambda: None)
        assert not fired
        running.origins.accepted[0].transport.write(OK)
        await running.until(lambda: fired)
        await running.until(lambda: client.is_over)
        assert client.data.endswith(b"hi")
        assert b"Connection: close" in client.data
        await running.listening.stopListening()
        running.origins.accepted[0].transport.abortConnection()

    run(scenario)
    assert len(records(tmp_path)) == 1


def test_draining_has_an_end(run, configured, tmp_path):
    """After the drain time what is under way is cut, and recorded."""

    async def scenario(reactor):
        running = Running(reactor, configured(timeouts={"drain": "300ms"}))
        client = await running.client()
        client.transport.write(running.get)
        await running.until(lambda: running.origins.accepted and running.origins.accepted[0].data)
        await running.end(client)
        assert b"200 OK" not in client.data

    run(scenario)
    assert len(records(tmp_path)) == 1


def test_a_tunnel_is_cut_at_the_end_of_draining(run, configured, tmp_path):
    """Also one whose first bytes have not come."""

    async def scenario(reactor):
        running = Running(reactor, configured(timeouts={"drain": "300ms"}))
        client = await running.client()
        port = running.listening.getHost().port
        client.transport.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (port, port))
        await running.until(lambda: b"200" in client.data)
        await running.end(client)

    run(scenario)
    assert [record["kind"] for record in records(tmp_path)] == ["connect"]


def test_sighup(run, configured, tmp_path):
    """The record file is opened anew and the policy read again; connections stay."""

    async def scenario(reactor):
        running = Running(reactor, configured())
        client = await running.client()
        client.transport.write(running.get)
        await running.until(lambda: running.origins.accepted and running.origins.accepted[0].data)
        running.origins.accepted[0].transport.write(OK)
        await running.until(lambda: client.data.endswith(b"hi"))
        await running.until(lambda: (tmp_path / "records.jsonl").read_text())
        os.rename(tmp_path / "records.jsonl", tmp_path / "old.jsonl")
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy(pre_dns="DENY")))
        os.kill(os.getpid(), signal.SIGHUP)
        await running.until(lambda: running.service.plane.policies.current.generation == 2)
        client.transport.write(running.get)
        await running.until(lambda: b" 403 " in client.data)
        await running.end(client)

    former = signal.getsignal(signal.SIGHUP)
    run(scenario)
    assert signal.getsignal(signal.SIGHUP) == former
    assert [record["http_status_code"] for record in records(tmp_path, "old.jsonl")] == [200]
    assert [record["http_status_code"] for record in records(tmp_path)] == [403]


def test_reload(run, configured, tmp_path):
    """A good policy and a bad one: the report says which."""

    async def scenario(reactor):
        running = Running(reactor, configured())
        report = await running.service.reload()
        assert (report["ok"], report["generation"]) == (True, 2)
        (tmp_path / "policy.yaml").write_text("nonsense")
        report = await running.service.reload()
        assert (report["ok"], report["generation"]) == (False, 2)
        assert report["problems"]
        await running.end()

    run(scenario)


def test_two_listeners(run, configured):
    """Each has its socket and its name; both are closed to destinations."""

    async def scenario(reactor):
        two = [
            {"name": "a", "type": "HTTP", "address": "127.0.0.1", "port": 0},
            {"name": "b", "type": "HTTP", "address": "127.0.0.2", "port": 0},
        ]
        running = Running(reactor, configured(listeners=two))
        bound = running.service.listeners
        for listener in bound:
            assert running.service.plane.guard.prohibits(listener.section.address, listener.socket.port) is not None
        client = await running.client()
        client.transport.write(b"GET http://127.0.0.2:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % bound[1].socket.port)
        await running.until(lambda: b"forward proxy" in client.data)
        await running.end(client)

    run(scenario)
