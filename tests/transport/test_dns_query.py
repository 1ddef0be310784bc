"""One question to one server, over real sockets: what counts as its answer, and that nothing is left open."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from twisted.internet.defer import CancelledError, gatherResults

from netfw.testing.dns_server import DnsServer
from netfw.testing.reactor_runs import run_in_reactor
from netfw.transport.deadlines import Deadlines
from netfw.transport.dns_codes import RecordType
from netfw.transport.dns_message import Question
from netfw.transport.dns_query import ask
from netfw.transport.dns_servers import NoAnswer, Server

LOOPBACK = ip_address("127.0.0.1")
WWW = Question("www.test", RecordType.A)
ADDRESS = (ip_address("192.0.2.1"),)
SOON, NEVER = 0.15, 60.0


def run(zone, scenario, **options):
    """Run `scenario(asking, server, reactor)`; asking(question, timeout) -> Deferred. No deadline may be left."""
    with DnsServer(zone, **options) as server:

        async def run_scenario(reactor):
            deadlines = Deadlines(reactor, granularity=0.02)

            def asking(question=WWW, timeout=NEVER):
                return ask(reactor, deadlines, Server(ip_address(server.address), server.port), question, timeout)

            result = await scenario(asking, server, reactor)
            assert len(deadlines) == 0
            return result

        return run_in_reactor(run_scenario)


def test_udp():
    """An answer comes over UDP with one question, EDNS in it."""

    async def scenario(asking, server, reactor):
        assert (await asking()).addresses == ADDRESS
        assert [(q.name, q.type, q.transport, q.edns) for q in server.questions] == [("www.test", "A", "udp", True)]

    run({"www.test": {"A": ["192.0.2.1"]}}, scenario)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest.mark.parametrize("address", ["::1", "::1%1"])
@pytest.mark.parametrize("truncate", [False, True])
def test_ipv6_server(address, truncate):
    """A server may have an IPv6 address, with a zone or without, over UDP and over TCP."""
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with DnsServer({"www.test": {"A": ["192.0.2.1"], "truncate": truncate}}, address="::1") as server:

        async def scenario(reactor):
            return await ask(reactor, Deadlines(reactor, 0.02), Server(ip_address(address), server.port), WWW, 5.0)

        assert run_in_reactor(scenario).addresses == ADDRESS


HOSTILE = (
    "wrong_id", "wrong_question", "wrong_type", "no_question", "not_a_response", "other_address", "other_port",
    "oversized", "garbage", "empty", "cut", "pointer_loop", "counts",
)  # fmt: skip


@pytest.mark.parametrize("mode", HOSTILE)
def test_what_does_not_count_is_waited_out(mode):
    """A message that is no answer of this server to this question changes nothing: the right one behind it counts."""

    async def scenario(asking, server, reactor):
        assert (await asking()).addresses == ADDRESS
        assert server.asked("www.test") == 1

    run({"www.test": {"A": ["192.0.2.1"], "hostile": mode, "then_right": True}}, scenario)


@pytest.mark.parametrize("mode", [*HOSTILE, "silence"])
def test_without_a_right_answer_time_is_up(mode):
    """If nothing that counts comes, the question ends at its time-out, as a silent server."""

    async def scenario(asking, server, reactor):
        with pytest.raises(NoAnswer) as caught:
            await asking(timeout=SOON)
        assert caught.value.timed_out

    run({"www.test": {"A": ["192.0.2.1"], "hostile": mode}}, scenario)


def test_record_of_another_owner_does_not_count():
    """An address owned by another name is no address of this one."""

    async def scenario(asking, server, reactor):
        answer = await asking()
        assert (answer.code, answer.addresses) == (0, ())

    run({"www.test": {"hostile": "wrong_owner"}}, scenario)


def test_ids_and_ports_differ():
    """Each query has an id and a source port of its own, in no visible order."""

    async def scenario(asking, server, reactor):
        await gatherResults([asking() for _ in range(40)])
        for numbers in ([q.id for q in server.questions], [q.port for q in server.questions]):
            assert len(set(numbers)) > 35
            steps = {later - earlier for earlier, later in zip(numbers, numbers[1:], strict=False)}
            assert len(steps) > 20

    run({"www.test": {"A": ["192.0.2.1"]}}, scenario)


def test_truncated_over_tcp():
    """A truncated answer is asked for again over TCP at the same server, and comes whole."""

    async def scenario(asking, server, reactor):
        assert len((await asking()).addresses) == 64
        assert [q.transport for q in server.questions] == ["udp", "tcp"]

    run({"www.test": {"truncate": True, "count": 1000}}, scenario)


def test_tcp_in_single_octets():
    """A TCP answer may come octet by octet."""

    async def scenario(asking, server, reactor):
        assert (await asking()).addresses == ADDRESS

    run({"www.test": {"truncate": True, "A": ["192.0.2.1"], "tcp": "slow"}}, scenario)


@pytest.mark.parametrize("way", ["refuse", "cut"])
def test_tcp_that_ends_early(way):
    """A TCP connection that ends before the answer is a failure at once."""

    async def scenario(asking, server, reactor):
        with pytest.raises(NoAnswer) as caught:
            await asking()
        assert not caught.value.timed_out

    run({"www.test": {"truncate": True, "A": ["192.0.2.1"], "tcp": way}}, scenario)


@pytest.mark.parametrize("way", ["silence", "garbage"])
def test_tcp_without_an_answer(way):
    """A TCP server that says nothing, or promises 64 KiB and sends four, is waited for until the time-out."""

    async def scenario(asking, server, reactor):
        with pytest.raises(NoAnswer) as caught:
            await asking(timeout=SOON)
        assert caught.value.timed_out

    run({"www.test": {"truncate": True, "A": ["192.0.2.1"], "tcp": way}}, scenario)


@pytest.mark.parametrize("mode", ["wrong_id", "wrong_question", "garbage", "empty"])
def test_tcp_with_another_answer(mode):
    """Over TCP there is nobody else: an answer that does not count is a failure at once."""

    async def scenario(asking, server, reactor):
        with pytest.raises(NoAnswer, match="does not count"):
            await asking()

    run({"www.test": {"truncate": True, "hostile": mode}}, scenario)


def test_server_without_edns():
    """FORMERR to EDNS, even without the question in it: the same is asked without EDNS, from another socket."""

    async def scenario(asking, server, reactor):
        assert (await asking()).addresses == ADDRESS
        assert [q.edns for q in server.questions] == [True, False]
        assert len({(q.port, q.id) for q in server.questions}) == 2

    run({"www.test": {"A": ["192.0.2.1"], "edns": False}}, scenario)


def test_formerr_without_edns_is_the_answer():
    """FORMERR to a query without EDNS is the answer, and is not asked for again."""

    async def scenario(asking, server, reactor):
        assert (await asking()).code == 1
        assert len(server.questions) == 2

    run({"www.test": {"rcode": "FORMERR"}}, scenario)


def test_nobody_listens():
    """Where nobody listens the ICMP message ends the question before its time-out."""
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def scenario(reactor):
        deadlines = Deadlines(reactor, granularity=0.02)
        with pytest.raises(NoAnswer) as caught:
            await ask(reactor, deadlines, Server(LOOPBACK, port), WWW, NEVER)
        assert not caught.value.timed_out
        assert len(deadlines) == 0

    run_in_reactor(scenario)


@pytest.mark.parametrize("address", ["255.255.255.255", "fe80::1%none"])
def test_no_way_there(address):
    """An address that cannot be sent to (broadcast, an unknown zone) fails at once, as NoAnswer."""

    async def scenario(reactor):
        with pytest.raises(NoAnswer, match="cannot send"):
            await ask(reactor, Deadlines(reactor, 0.02), Server(ip_address(address)), WWW, NEVER)

    run_in_reactor(scenario)


@pytest.mark.parametrize("entry", [{"hostile": "silence"}, {"truncate": True, "tcp": "silence"}])
@pytest.mark.parametrize("moments", [0, 1, 5, 50])
def test_cancelled(entry, moments):
    """Cancelled at any moment it leaves no socket and no deadline: the UDP socket is closed when cancel() returns."""

    async def scenario(asking, server, reactor):
        before = set(reactor.getReaders()) | set(reactor.getWriters())
        asked = asking()
        for _ in range(moments):
            await _turn(reactor)
        asked.cancel()
        with pytest.raises(CancelledError):
            await asked
        if "tcp" not in entry:
            assert set(reactor.getReaders()) | set(reactor.getWriters()) == before

    run({"www.test": entry}, scenario)


def test_flood_does_not_stop_the_reactor():
    """Thousands of wrong answers are dropped a few a turn; the right one is found, other work goes on."""

    async def scenario(reactor):
        deadlines = Deadlines(reactor, granularity=0.02)
        with socket.socket(type=socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.settimeout(5)
            asked = ask(reactor, deadlines, Server(LOOPBACK, server.getsockname()[1]), WWW, NEVER)
            query, client = server.recvfrom(512)
            turns = 0
            for _ in range(20):
                for _ in range(50):
                    server.sendto(b"\0" * 40, client)
                await _turn(reactor)
                turns += 1
            answer = bytearray(query[:12] + query[12:26])
            answer[2:4], answer[6:12] = b"\x81\x83", bytes(6)
            server.sendto(bytes(answer), client)
            assert (await asked).code == 3
            assert turns == 20

    run_in_reactor(scenario)


def _turn(reactor):
    from twisted.internet.task import deferLater

    return deferLater(reactor, 0, lambda: None)
