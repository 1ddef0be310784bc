"""The resolver: who is asked first, what is kept, one lookup for all who wait, and what a cancel does."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import Clock, deferLater
from zope.interface.verify import verifyObject

from netfw.errors import DnsFailure, DnsTimeout, NameNotFound
from netfw.interfaces import IResolver
from netfw.names.host import host_from_text
from netfw.testing.deferreds import failure_of, result_of
from netfw.testing.dns_server import DnsServer
from netfw.testing.reactor_runs import run_in_reactor
from netfw.transport.deadlines import Deadlines
from netfw.transport.dns_cache import Absence, DnsCache
from netfw.transport.hosts_file import HostsFile
from netfw.transport.resolution import Resolution
from netfw.transport.resolver import DnsResolver

LOOPBACK = ip_address("127.0.0.1")
WWW = host_from_text("www.test")
BOTH = {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]}
SILENT = {"hostile": "silence"}


def make_resolver(reactor, port=53, **options):
    """A resolver that asks 127.0.0.1 only, with short times."""
    settings = {"hosts": None, "timeout": 0.15, "resolve_timeout": 5.0, "cache": DnsCache(100), **options}
    return DnsResolver(reactor, Deadlines(reactor, granularity=0.02), servers=[(LOOPBACK, port)], **settings)


def run(zone, scenario, **options):
    """Run `scenario(resolver, server, reactor)` against a server with this zone."""
    with DnsServer(zone) as server:

        async def run_scenario(reactor):
            resolver = make_resolver(reactor, server.port, **options)
            result = await scenario(resolver, server, reactor)
            assert resolver.lookups == 0
            return result

        return run_in_reactor(run_scenario)


def texts(resolution):
    return [str(address) for address in resolution.addresses]


def test_interface():
    """It is what IResolver says."""
    assert verifyObject(IResolver, make_resolver(Clock()))


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1"])
def test_literal(text):
    """An IP literal is answered at once, by nobody."""
    got = result_of(make_resolver(Clock()).resolve(host_from_text(text)))
    assert (texts(got), got.source, got.resolver) == ([text], "literal", "")


@pytest.mark.parametrize("text", ["localhost", "LOCALHOST.", "db.localhost"])
def test_localhost(text, tmp_path):
    """localhost is this machine, whatever the hosts file says."""
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.66 localhost db.localhost\n")
    got = result_of(make_resolver(Clock(), hosts=HostsFile(hosts)).resolve(host_from_text(text)))
    assert texts(got) == ["::1", "127.0.0.1"]


def test_hosts_file_wins(tmp_path):
    """A name in the hosts file is answered from there, in any spelling, before cache and DNS."""
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 WWW.Test.\n2001:db8::7 www.test\n")
    cache = DnsCache(10)
    cache.put("www.test", Resolution(WWW, (LOOPBACK,), (), 60, "", "dns"), 60, 0.0)
    got = result_of(make_resolver(Clock(), hosts=HostsFile(hosts), cache=cache).resolve(WWW))
    assert got == Resolution(WWW, (ip_address("2001:db8::7"), ip_address("192.0.2.7")), (), 0, str(hosts), "hosts")


def test_hosts_file_without_the_family(tmp_path):
    """A name that the hosts file has in another family only is asked for in the DNS."""
    hosts = tmp_path / "hosts"
    hosts.write_text("2001:db8::7 www.test\n")

    async def scenario(resolver, server, reactor):
        assert texts(await resolver.resolve(WWW)) == ["192.0.2.1"]

    run({"www.test": BOTH}, scenario, hosts=HostsFile(hosts), families=("ipv4",))


def test_cached_answers():
    """What the cache has is answered at once: addresses, and that there are none."""
    clock, cache = Clock(), DnsCache(10)
    resolver = make_resolver(clock, cache=cache)
    cache.put("www.test", Resolution(WWW, (LOOPBACK,), ("edge.test",), 60, "192.0.2.53:53", "dns"), 60, 0.0)
    cache.put("gone.test", Absence(False, "192.0.2.53:53"), 60, 0.0)
    cache.put("bare.test", Absence(True, "192.0.2.53:53"), 60, 0.0)
    clock.advance(20)
    expected = Resolution(WWW, (LOOPBACK,), ("edge.test",), 40, "192.0.2.53:53", "cache")
    assert result_of(resolver.resolve(WWW)) == expected
    gone = failure_of(resolver.resolve(host_from_text("gone.test")), NameNotFound)
    assert str(gone) == "gone.test does not exist (192.0.2.53:53)"
    bare = failure_of(resolver.resolve(host_from_text("bare.test")), NameNotFound)
    assert str(bare) == "bare.test has no address (192.0.2.53:53)"


def test_asked_once_within_the_ttl():
    """A second caller within the TTL gets the cache's answer; the DNS is asked once a family."""

    async def scenario(resolver, server, reactor):
        first, second = await resolver.resolve(WWW), await resolver.resolve(WWW)
        assert (first.source, second.source) == ("dns", "cache")
        assert first.addresses == second.addresses == (ip_address("2001:db8::1"), ip_address("192.0.2.1"))
        assert first.chain == ("edge.test",)
        assert first.resolver == second.resolver == f"127.0.0.1:{server.port}"
        assert server.asked("www.test") == 2

    run({"www.test": {"CNAME": "edge.test"}, "edge.test": BOTH}, scenario)


def test_ttl_of_zero():
    """With a TTL of 0 every caller that comes later is another lookup, and sees what is true then."""

    async def scenario(resolver, server, reactor):
        assert texts(await resolver.resolve(WWW)) == ["192.0.2.1"]
        assert texts(await resolver.resolve(WWW)) == ["192.0.2.2"]

    run({"www.test": {"sequence": [["192.0.2.1"], ["192.0.2.2"]], "ttl": 0, "minimum": 0}}, scenario)


def test_missing_is_kept():
    """A name that does not exist is asked for once; the failure says so and names the resolver."""

    async def scenario(resolver, server, reactor):
        for _ in range(3):
            with pytest.raises(NameNotFound, match=rf"^www\.test does not exist \(127\.0\.0\.1:{server.port}\)$"):
                await resolver.resolve(WWW)
        assert server.asked("www.test") == 2

    run({}, scenario)


def test_failure_is_not_kept():
    """SERVFAIL is not kept: the next caller asks again."""

    async def scenario(resolver, server, reactor):
        with pytest.raises(DnsFailure):
            await resolver.resolve(WWW)
        assert texts(await resolver.resolve(WWW)) == ["2001:db8::1", "192.0.2.1"]

    run({"www.test": {"sequence": [{"rcode": "SERVFAIL"}, {}], **BOTH}}, scenario)


def test_record_of_another_owner():
    """An answer whose records belong to another name gives no address, and nothing of it is kept for that name."""

    async def scenario(resolver, server, reactor):
        with pytest.raises(NameNotFound, match="has no address"):
            await resolver.resolve(WWW)
        with pytest.raises(NameNotFound, match="does not exist"):
            await resolver.resolve(host_from_text("owner.evil.test"))

    run({"www.test": {"hostile": "wrong_owner"}}, scenario)


def test_many_callers_one_lookup():
    """Callers of the same name while it is looked up share one lookup; a circle of callbacks does not disturb it."""

    async def scenario(resolver, server, reactor):
        waiting = [resolver.resolve(WWW) for _ in range(100)]
        again = []
        waiting[0].addCallback(lambda got: again.append(resolver.resolve(WWW)) or got)
        assert resolver.lookups == 1
        results = await gatherResults(waiting)
        assert len({id(result) for result in results}) == 1
        assert (await again[0]).source == "cache"
        assert server.asked("www.test") == 2

    run({"www.test": {**BOTH, "delay": 0.05}}, scenario)


def test_failure_of_a_shared_lookup():
    """Each caller of a shared lookup gets an exception object of its own."""

    async def scenario(resolver, server, reactor):
        waiting = [resolver.resolve(WWW) for _ in range(3)]
        errors = []
        for one in waiting:
            with pytest.raises(DnsFailure) as caught:
                await one
            errors.append(caught.value)
        assert len({id(error) for error in errors}) == 3
        assert len({str(error) for error in errors}) == 1

    run({"www.test": {"rcode": "SERVFAIL"}}, scenario)


def test_cancel_of_one_caller():
    """A caller that leaves does not end the lookup of the others, and hears nothing more."""

    async def scenario(resolver, server, reactor):
        leaving, staying = resolver.resolve(WWW), resolver.resolve(WWW)
        leaving.cancel()
        with pytest.raises(CancelledError):
            await leaving
        assert texts(await staying) == ["2001:db8::1", "192.0.2.1"]
        assert server.asked("www.test") == 2

    run({"www.test": {**BOTH, "delay": 0.05}}, scenario)


def test_cancel_of_the_last_caller():
    """When the last caller leaves the sockets are closed there and then, and a new caller is a new lookup."""

    async def scenario(resolver, server, reactor):
        before = set(reactor.getReaders())
        waiting = [resolver.resolve(WWW) for _ in range(3)]
        assert len(set(reactor.getReaders()) - before) == 2
        for one in waiting:
            assert resolver.lookups == 1
            one.cancel()
        assert set(reactor.getReaders()) == before
        assert resolver.lookups == 0
        for one in waiting:
            with pytest.raises(CancelledError):
                await one
        with pytest.raises(DnsTimeout):
            await resolver.resolve(WWW)

    run({"www.test": SILENT}, scenario)


def test_cancel_from_another_callers_callback():
    """A caller may cancel another one, or a new one, from its own callback."""

    async def scenario(resolver, server, reactor):
        first, second, third = [resolver.resolve(WWW) for _ in range(3)]
        first.addCallback(lambda got: second.cancel() or got)
        assert (await first).addresses == (await third).addresses
        with pytest.raises(CancelledError):
            await second

    run({"www.test": {**BOTH, "delay": 0.05}}, scenario)


def test_too_many_lookups():
    """Beyond the limit a new name fails at once; a name that is being looked up, or known, does not."""

    async def scenario(resolver, server, reactor):
        waiting = [resolver.resolve(host_from_text(f"n{index}.slow.test")) for index in range(2)]
        with pytest.raises(DnsFailure, match="2 lookups are under way"):
            await resolver.resolve(WWW)
        shared = resolver.resolve(host_from_text("n0.slow.test"))
        assert texts(await resolver.resolve(host_from_text("localhost"))) == ["::1", "127.0.0.1"]
        await gatherResults([*waiting, shared])
        await resolver.resolve(WWW)

    run({"*.slow.test": {**BOTH, "delay": 0.05}, "www.test": BOTH}, scenario, max_lookups=2)


def test_slow_names_do_not_delay_others():
    """While forty names get no answer, another is resolved; none of the forty has ended by then."""

    async def scenario(resolver, server, reactor):
        slow = [resolver.resolve(host_from_text(f"n{index}.slow.test")) for index in range(40)]
        assert len(texts(await resolver.resolve(WWW))) == 2
        assert resolver.lookups == 40
        for one in slow:
            one.cancel()
            with pytest.raises(CancelledError):
                await one

    run({"*.slow.test": SILENT, "www.test": BOTH}, scenario, timeout=30.0)


def test_names_are_absolute():
    """A name of one label is asked for as it is; nothing is ever appended."""

    async def scenario(resolver, server, reactor):
        with pytest.raises(NameNotFound):
            await resolver.resolve(host_from_text("intranet"))
        assert {question.name for question in server.questions} == {"intranet"}

    run({}, scenario)


@pytest.mark.parametrize("moment", [0, 0.01, 0.06, 0.2])
def test_cancel_at_any_step(moment):
    """A cancel at any moment of a lookup that goes over TCP ends it; the run itself checks that nothing is left."""

    async def scenario(resolver, server, reactor):
        waiting = resolver.resolve(WWW)
        await deferLater(reactor, moment, lambda: None)
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting

    run({"www.test": {"truncate": True, "delay": 0.05, "tcp": "silence"}}, scenario, timeout=30.0)


def test_silent_server_does_not_delay_the_next_name():
    """After one lookup has found the first server silent, the next name is asked of the second one first."""
    with DnsServer({"*": SILENT}) as silent, DnsServer({"*": BOTH}) as well:

        async def scenario(reactor):
            resolver = DnsResolver(
                reactor,
                Deadlines(reactor, granularity=0.02),
                servers=[(LOOPBACK, silent.port), (LOOPBACK, well.port)],
                hosts=None,
                timeout=0.15,
                resolve_timeout=5.0,
                cache=DnsCache(10),
            )
            for name in ("a.test", "b.test"):
                assert len(texts(await resolver.resolve(host_from_text(name)))) == 2

        run_in_reactor(scenario)
        assert (silent.asked("a.test"), silent.asked("b.test")) == (2, 0)


def heard_of(zone, *names, times=1, **options):
    """What a resolver tells of its answers while these names are asked for."""
    told = []

    async def scenario(resolver, server, reactor):
        for _ in range(times):
            for name in names:
                try:
                    await resolver.resolve(host_from_text(name))
                except (DnsFailure, DnsTimeout, NameNotFound):
                    pass
        return server.port

    port = run(zone, scenario, heard=told.append, **options)
    assert {one.server for one in told} <= {f"127.0.0.1:{port}"}
    return told


def test_each_answer_is_told():
    """Addresses, chain, TTL and code of each family, and how long it took."""
    told = heard_of({"www.test": {"CNAME": "edge.test"}, "edge.test": BOTH}, "www.test")
    assert sorted((one.record_type, one.code, tuple(map(str, one.addresses)), one.chain, one.ttl) for one in told) == [
        ("A", "NOERROR", ("192.0.2.1",), ("edge.test",), 60),
        ("AAAA", "NOERROR", ("2001:db8::1",), ("edge.test",), 60),
    ]
    assert all(one.seconds > 0 and not one.cached and one.error is None and one.name == "www.test" for one in told)


def test_what_was_kept_is_told_as_such_once_a_second():
    told = heard_of({"www.test": BOTH}, "www.test", times=20)
    assert len([one for one in told if not one.cached]) == 2
    kept = [one for one in told if one.cached]
    assert 1 <= len(kept) < 19
    assert (kept[0].record_type, kept[0].code, kept[0].seconds) == ("A AAAA", "NOERROR", 0.0)


def test_missing_names_and_failures_are_told():
    told = heard_of({"broken.test": {"rcode": "SERVFAIL"}}, "gone.test", "broken.test", times=1, families=("ipv4",))
    assert [(one.name, one.code, one.addresses, one.ttl) for one in told] == [
        ("gone.test", "NXDOMAIN", (), 5), ("broken.test", "SERVFAIL", (), None),
    ]  # fmt: skip
    assert [one.error for one in told] == [None, "the answer was SERVFAIL"]


def test_silence_is_told():
    told = heard_of({"www.test": SILENT}, "www.test", families=("ipv4",))
    assert len(told) >= 1
    assert all(one.timed_out and one.error and one.code is None for one in told)
