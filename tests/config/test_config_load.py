"""The process's configuration: what is accepted, what it means, and how everything that is wrong is told."""

import json
import os
import shutil
from collections.abc import Callable
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netfw.config import defaults
from netfw.config.errors import ConfigErrors, Problem
from netfw.config.load import load_config
from netfw.config.model import (
    ClientCertificateEntry,
    Configuration,
    ConsistencyException,
    ConsistencySection,
    DenyOpaque,
    DenyStyle,
    DestinationEntry,
    ListenerType,
    NameCheck,
    NameVerdict,
    OriginEntry,
    ProxySection,
    SourceEntry,
    TunnelsSection,
)
from netfw.config.way_model import AskedBy, Balance, HealthSection, ParentEntry, RouteEntry, Selector
from netfw.workers.plain import from_plain, to_plain

Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]
CA = {"certificate": "ca.pem", "private_key": "ca.key"}


def problems_of(path: Path) -> dict[str, str]:
    """Path and message of every problem."""
    with pytest.raises(ConfigErrors) as caught:
        load_config(path)
    assert all(problem.source == str(path) for problem in caught.value.problems)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_the_shipped_configuration_is_accepted(tmp_path: Path) -> None:
    """etc/proxy.yaml says what its comments say, once its directories are made."""
    shutil.copytree(ROOT / "etc", tmp_path / "etc")
    configuration = load_config(tmp_path / "etc" / "proxy.yaml", with_files=False)
    (listener,) = configuration.listeners
    assert (listener.type, str(listener.address), listener.port) == (ListenerType.HTTP, "127.0.0.1", 3128)
    assert configuration.tls_intercept.enabled
    assert configuration.tls_intercept.ca_private_key == tmp_path / "var" / "ca" / "ca.key"
    assert configuration.policy.file == tmp_path / "etc" / "policy.yaml"
    assert configuration.log.path == tmp_path / "var" / "log" / "records.jsonl"
    assert configuration.admin.port == 9901


def test_what_the_shipped_configuration_comments_out_is_the_default(tmp_path: Path) -> None:
    """With the comment signs taken from the sections, nothing changes but help_url, resolvers and the host name."""
    text = (ROOT / "etc" / "proxy.yaml").read_text()
    sections = [name + ":" for name in (
        "consistency", "tunnels", "dns", "egress", "guard", "upstream", "limits", "timeouts", "deny", "workers",
    )]  # fmt: skip
    lines, uncomment = [], False
    for line in text.splitlines():
        stripped = line.removeprefix("# ")
        uncomment = line.startswith("# ") and (
            stripped.startswith(tuple(sections)) or (uncomment and stripped[0] == " ")
        )
        lines.append(stripped if uncomment else line)
    spoken = tmp_path / "proxy.yaml"
    spoken.write_text("\n".join(lines))
    silent = tmp_path / "silent.yaml"
    silent.write_text(text)
    loud, quiet = load_config(spoken, with_files=False), load_config(silent, with_files=False)
    assert (loud.limits, loud.timeouts) == (quiet.limits, quiet.timeouts) == (defaults.LIMITS, defaults.TIMEOUTS)
    assert loud.tunnels == quiet.tunnels == TunnelsSection()
    assert loud.consistency == quiet.consistency == ConsistencySection()
    assert (loud.guard, loud.egress, loud.upstream) == (quiet.guard, quiet.egress, quiet.upstream)
    assert (loud.dns.timeout, loud.dns.hosts_file) == (quiet.dns.timeout, quiet.dns.hosts_file)
    assert (loud.deny.style, loud.deny.opaque) == (quiet.deny.style, quiet.deny.opaque)
    assert loud.deny.help_url == "https://wiki.example.com/netfw?id={id}"
    assert loud.dns.resolvers == ((ip_address("192.0.2.53"), 53),)


def test_every_setting_arrives(write_config: Write, tmp_path: Path) -> None:
    """What is written is what the model holds; relative paths are relative to the file."""
    path = write_config(
        proxy={"name": "egress-1", "hostname": "Proxy.Example.", "pac_direct": True},
        listeners=[
            {"name": "a", "type": "HTTP", "address": "::1", "clients": ["10.0.0.0/8", "192.0.2.7"]},
            {"name": "b", "type": "HTTPS", "address": "127.0.0.1", "certificate": "ca.pem", "private_key": "ca.key"},
        ],
        tls_intercept={
            "mode": "ENABLED",
            "ca": CA,
            "bypass": [".example.com", {"domain": "*.example.org", "source": "10.1.0.0/16"}],
            "only": [".example.net", {"domain": "example.com", "port": 8443}],
            "organization": "Egress Ltd",
        },
        tunnels={"hosts": ["ssh.example.com", {"domain": "db.example.com", "port": 5432, "source": "10.1.0.0/16"}]},
        dns={"resolvers": ["192.0.2.53", "[2001:db8::53]:5353"], "timeout": "500ms"},
        egress={"source_addresses": ["192.0.2.1"]},
        guard={"allow": ["10.20.0.0/16"], "private": "allow", "allow_ports": [22, 25]},
        upstream={
            "trust": "ca.pem",
            "minimum_tls": 1.3,
            "hosts": [{"domain": "*.Example.com", "pins": "sha256//" + "A" * 43 + "="}],
            "client_certificates": [{"domain": "a.example", "certificate": "ca.pem", "private_key": "ca.key"}],
            "proxies": [
                {"name": "up", "url": "https://Proxy.Example.:3129/", "credentials": "ca.key", "trust": "ca.pem"},
                {"name": "v6", "url": "http://[2001:db8::1]:8080"},
            ],
            "routes": [
                {"domains": "*.Example.com", "sources": ["10.0.0.0/8"], "listeners": "a", "direct": True},
                {"proxies": ["v6", "up"], "balance": "round_robin", "by": "name"},
            ],
            "health": {"interval": "5s", "fall": 1, "probe": "[2001:db8::2]:443"},
        },
        limits={"head_size": "32KiB", "connections": 5},
        timeouts={"idle": "1h", "lifetime": "12h"},
        deny={"style": "aws", "opaque": "after_200", "help_url": "https://help.example/{id}"},
        log={"path": "records.jsonl"},
        admin={"socket": "admin.sock", "port": 9},
        workers=0,
    )
    configuration = load_config(path)
    first, second = configuration.listeners
    assert configuration.proxy == ProxySection("egress-1", "proxy.example", True)
    assert (first.port, second.port) == (3128, 8443)
    assert first.clients == (IPv4Network("10.0.0.0/8"), IPv4Network("192.0.2.7/32"))
    assert second.clients == defaults.CLIENTS
    assert (second.certificate, second.private_key) == (tmp_path / "ca.pem", tmp_path / "ca.key")
    assert configuration.tls_intercept.bypass == (
        DestinationEntry(".example.com", None),
        DestinationEntry("*.example.org", ip_network("10.1.0.0/16")),
    )
    assert configuration.tls_intercept.organization == "Egress Ltd"
    assert configuration.tls_intercept.only == (
        DestinationEntry(".example.net", None),
        DestinationEntry("example.com", None, 8443),
    )
    assert configuration.tunnels == TunnelsSection(
        False,
        (
            DestinationEntry("ssh.example.com", None),
            DestinationEntry("db.example.com", ip_network("10.1.0.0/16"), 5432),
        ),
    )
    assert configuration.dns.resolvers == ((ip_address("192.0.2.53"), 53), (ip_address("2001:db8::53"), 5353))
    assert configuration.dns.timeout == 0.5
    assert configuration.guard.allow_private
    assert configuration.guard.allow_ports == {22, 25}
    upstream = configuration.upstream
    assert upstream.proxies == (
        ParentEntry("up", "proxy.example", 3129, True, tmp_path / "ca.key", (tmp_path / "ca.pem",)),
        ParentEntry("v6", "2001:db8::1", 8080),
    )
    selector = Selector(domains=("*.example.com",), sources=(ip_network("10.0.0.0/8"),), listeners=("a",))
    assert upstream.routes == (
        RouteEntry(selector, ()),
        RouteEntry(Selector(), ("v6", "up"), Balance.ROUND_ROBIN, AskedBy.NAME),
    )
    assert upstream.health == HealthSection(interval=5.0, fall=1, probe=("2001:db8::2", 443))
    assert upstream.trust == (tmp_path / "ca.pem",) and upstream.minimum_tls == "1.3" and not upstream.strict
    assert upstream.hosts == (OriginEntry("*.example.com", (), ("00" * 32,)),)
    assert upstream.client_certificates == (
        ClientCertificateEntry("a.example", tmp_path / "ca.pem", tmp_path / "ca.key"),
    )
    assert (configuration.limits.head_size, configuration.limits.connections) == (32768, 5)
    assert (configuration.timeouts.idle, configuration.timeouts.lifetime) == (3600, 43200)
    assert (configuration.deny.style, configuration.deny.opaque) == (DenyStyle.AWS, DenyOpaque.AFTER_200)
    assert configuration.log.path == tmp_path / "records.jsonl"
    assert (configuration.admin.socket, str(configuration.admin.address)) == (tmp_path / "admin.sock", "127.0.0.1")


def test_consistency_arrives(write_config: Write) -> None:
    """Verdicts and exceptions, also by way of the form that travels to workers."""
    configuration = load_config(
        write_config(
            consistency={
                "connect_sni": "evaluate",
                "exceptions": [
                    {"host": ".cdn.example", "allow": "sni_host", "evaluate": ["connect_sni", "missing_sni"]},
                    {"host": "a.example", "source": "10.0.0.0/8", "deny": "connect_sni"},
                ],
            }
        )
    )
    assert configuration.consistency == ConsistencySection(
        connect_sni=NameVerdict.EVALUATE,
        exceptions=(
            ConsistencyException(
                ".cdn.example",
                None,
                {
                    NameCheck.CONNECT_SNI: NameVerdict.EVALUATE,
                    NameCheck.MISSING_SNI: NameVerdict.EVALUATE,
                    NameCheck.SNI_HOST: NameVerdict.ALLOW,
                },
            ),
            ConsistencyException("a.example", ip_network("10.0.0.0/8"), {NameCheck.CONNECT_SNI: NameVerdict.DENY}),
        ),
    )
    assert from_plain(Configuration, json.loads(json.dumps(to_plain(configuration)))) == configuration


def test_sources_arrive(write_config: Write) -> None:
    """Who may say where clients come from, and what is known of them; in their order."""
    configuration = load_config(
        write_config(
            listeners=[
                {
                    "name": "main", "type": "HTTP", "address": "127.0.0.1",
                    "proxy_protocol": {"from": ["10.0.9.0/24", "fd00::9"]},
                }
            ],
            sources=[
                {"vpce": "vpce-08d2bf15fac5001c9", "account": "000022223333"},
                {"cidr": "10.2.0.0/16", "listener": "main", "vpc": "vpc-0a", "vpce": "vpce-0b", "identity": "CI build"},
            ],
        )
    )  # fmt: skip
    assert configuration.listeners[0].proxy_protocol_from == (ip_network("10.0.9.0/24"), ip_network("fd00::9"))
    assert configuration.sources == (
        SourceEntry(None, None, "vpce-08d2bf15fac5001c9", "000022223333", None, None),
        SourceEntry(ip_network("10.2.0.0/16"), "main", "vpce-0b", None, "vpc-0a", "CI build"),
    )
    assert from_plain(Configuration, to_plain(configuration)) == configuration


def test_the_least_configuration_opens_nothing(write_config: Write) -> None:
    """Without a word: no interception, private destinations closed, private clients only, no admin surface."""
    configuration = load_config(write_config())
    assert not configuration.tls_intercept.enabled
    assert not configuration.guard.allow_private
    assert configuration.guard.allow == ()
    assert configuration.guard.allow_ports == frozenset()
    assert not any(network.is_global for network in configuration.listeners[0].clients)
    assert (configuration.admin.socket, configuration.admin.address) == (None, None)
    assert configuration.workers == 0
    assert configuration.listeners[0].proxy_protocol_from == ()
    assert configuration.sources == ()


@pytest.mark.parametrize(("written", "meant"), [(3, 3), ("auto", len(os.sched_getaffinity(0)))])
def test_workers_are_a_number_or_one_for_each_usable_core(write_config: Write, written: Any, meant: int) -> None:
    """Cores that the process may not use do not count."""
    assert load_config(write_config(workers=written)).workers == meant


def test_everything_that_is_wrong_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    """In the order of the lines, each with path, value and fix."""
    path = tmp_path / "proxy.yaml"
    path.write_text(
        "proxy: {nmae: x}\n"
        "listeners:\n"
        "  - {name: a, type: HTTP, address: localhost, port: 70000}\n"
        "policy: {directory: nowhere}\n"
        "timeouts:\n"
        "  idle: 0\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        load_config(path)
    assert str(caught.value).splitlines() == [
        "4 problems:",
        f"  {path}:1: proxy.nmae: unknown setting; did you mean name?",
        f"  {path}:3: listeners[0].address: 'localhost' is not an IP address; write 127.0.0.1",
        f"  {path}:3: listeners[0].port: 70000 is not a port; write a number from 1 to 65535",
        f"  {path}:6: timeouts.idle: 0: a wait needs an end; write a duration above 0, as in 30s",
    ]


STORE = {"store": "sqlite:///x", "last_good": "x"}
LISTENER = {"name": "main", "type": "HTTP", "address": "127.0.0.1", "port": 3128}

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"listners": []}, "listners", "did you mean listeners?"),
    ({"xyzzy": 1}, "xyzzy", "known here: "),
    ({"listeners": None}, "listeners", "at least one"),
    ({"listeners": []}, "listeners", "at least one"),
    ({"listeners": {"name": "a"}}, "listeners", "begin each entry"),
    ({"listeners": ["a"]}, "listeners[0]", "not a mapping"),
    ({"listeners": [{**LISTENER, "name": "a b"}]}, "listeners[0].name", "not a name"),
    ({"listeners": [{"type": "HTTP", "address": "::1"}]}, "listeners[0].name", "is missing"),
    ({"listeners": [{**LISTENER, "type": "http"}]}, "listeners[0].type", "write HTTP"),
    ({"listeners": [{**LISTENER, "type": "SOCKS"}]}, "listeners[0].type", "HTTP or HTTPS"),
    ({"listeners": [{**LISTENER, "port": "3128"}]}, "listeners[0].port", "not a port"),
    ({"listeners": [{**LISTENER, "port": True}]}, "listeners[0].port", "not a port"),
    ({"listeners": [{**LISTENER, "address": "fe80::1%eth0"}]}, "listeners[0].address", "not an IP address"),
    ({"listeners": [{**LISTENER, "clients": []}]}, "listeners[0].clients", "lets nobody in"),
    ({"listeners": [{**LISTENER, "clients": ["10.1.0.0/8"]}]}, "listeners[0].clients[0]", "write 10.0.0.0/8"),
    ({"listeners": [{**LISTENER, "clients": "10.0.0.0/8"}]}, "listeners[0].clients", "not a list"),
    ({"listeners": [{**LISTENER, "certificate": "ca.pem"}]}, "listeners[0].certificate", "belongs to an HTTPS"),
    ({"listeners": [{**LISTENER, "type": "HTTPS", "certificate": "ca.pem"}]}, "listeners[0].private_key", "is missing"),
    ({"listeners": [LISTENER, {**LISTENER, "name": "b"}]}, "listeners[1].port", "collides"),
    ({"listeners": [{**LISTENER, "address": "0.0.0.0"}, {**LISTENER, "name": "b"}]}, "listeners[1].port", "collides"),
    ({"listeners": [LISTENER, {**LISTENER, "port": 1}]}, "listeners[1].name", "its own"),
    ({"listeners": [{**LISTENER, "proxy_protocol": {}}]}, "listeners[0].proxy_protocol.from", "names nobody"),
    ({"listeners": [{**LISTENER, "proxy_protocol": None}]}, "listeners[0].proxy_protocol.from", "names nobody"),
    ({"listeners": [{**LISTENER, "proxy_protocol": {"from": []}}]}, "listeners[0].proxy_protocol.from", "names nobody"),
    ({"listeners": [{**LISTENER, "proxy_protocol": ["::1"]}]}, "listeners[0].proxy_protocol", "not a mapping"),
    ({"listeners": [{**LISTENER, "proxy_protocol": True}]}, "listeners[0].proxy_protocol", "not a mapping"),
    ({"listeners": [{**LISTENER, "proxy_protocol": {"form": []}}]}, "listeners[0].proxy_protocol.form", "mean from?"),
    (
        {"listeners": [{**LISTENER, "proxy_protocol": {"from": ["10.0.0.1/8"]}}]},
        "listeners[0].proxy_protocol.from[0]",
        "write 10.0.0.0/8",
    ),
    (
        {"listeners": [{**LISTENER, "proxy_protocol": {"from": ["::1", "0.0.0.0/0"]}}]},
        "listeners[0].proxy_protocol.from[1]",
        "everybody",
    ),
    ({"listeners": [{**LISTENER, "from_store": [3128]}]}, "listeners[0].from_store", "is for a policy in a store"),
    ({"policy": STORE, "listeners": [{**LISTENER, "from_store": []}]}, "listeners[0].from_store", "names no ports"),
    (
        {"policy": STORE, "listeners": [{**LISTENER, "from_store": [8080]}]},
        "listeners[0].from_store",
        "leaves out port 3128",
    ),
    (
        {"policy": STORE, "listeners": [{**LISTENER, "from_store": ["9-8"]}]},
        "listeners[0].from_store[0]",
        "lower one first",
    ),
    ({"policy": STORE, "listeners": [{**LISTENER, "from_store": ["x"]}]}, "listeners[0].from_store[0]", "8080-8089"),
    ({"policy": STORE, "listeners": [{**LISTENER, "from_store": [0]}]}, "listeners[0].from_store[0]", "1 to 65535"),
    (
        {
            "policy": STORE,
            "listeners": [
                {**LISTENER, "from_store": "3128-3135"},
                {**LISTENER, "name": "b", "address": "0.0.0.0", "port": 3130, "from_store": ["3130-3140"]},
            ],
        },
        "listeners[1].from_store",
        "main may have too",
    ),
    ({"sources": {"cidr": "::1"}}, "sources", "begin each entry"),
    ({"sources": ["::1"]}, "sources[0]", "not a mapping"),
    ({"sources": [{}]}, "sources[0]", "write cidr, listener or vpce"),
    ({"sources": [{"account": "111122223333", "vpc": "vpc-1"}]}, "sources[0]", "write cidr, listener or vpce"),
    ({"sources": [{"cidr": None, "account": "111122223333"}]}, "sources[0].cidr", "is empty"),
    ({"sources": [{"listener": "main", "vpce": None}]}, "sources[0].vpce", "is empty"),
    ({"sources": [{"cidr": "10.0.0.1/8"}]}, "sources[0].cidr", "write 10.0.0.0/8"),
    ({"sources": [{"listener": "main"}, {"listener": "mian"}]}, "sources[1].listener", "did you mean main?"),
    ({"sources": [{"listener": "xyzzy"}]}, "sources[0].listener", "there are: main"),
    ({"sources": [{"cidr": "::1", "account": 111122223333}]}, "sources[0].account", "in quotes"),
    ({"sources": [{"cidr": "::1", "account": "11112222333"}]}, "sources[0].account", "12 digits"),
    ({"sources": [{"cidr": "::1", "account": "١١١١٢٢٢٢٣٣٣٣"}]}, "sources[0].account", "12 digits"),
    ({"sources": [{"cidr": "::1", "vpc": "vpce-1"}]}, "sources[0].vpc", "vpc-0123abcd"),
    ({"sources": [{"cidr": "::1", "vpc": "vpc-"}]}, "sources[0].vpc", "vpc-0123abcd"),
    ({"sources": [{"cidr": "::1", "vpce": "vpce-XYZ"}]}, "sources[0].vpce", "vpce-0123abcd"),
    ({"sources": [{"vpce": "vpce-1"}]}, "sources[0].vpce", "no listener has proxy_protocol"),
    ({"sources": [{"cidr": "::1", "identity": ""}]}, "sources[0].identity", "empty"),
    ({"sources": [{"cidr": "::1", "identity": "a\nb"}]}, "sources[0].identity", "control"),
    ({"sources": [{"cidr": "::1", "identity": "a" * 257}]}, "sources[0].identity", "longer"),
    ({"sources": [{"cidr": "::1", "acount": "1"}]}, "sources[0].acount", "did you mean account?"),
    ({"proxy": {"hostname": "a b"}}, "proxy.hostname", ""),
    ({"proxy": "x"}, "proxy", "not a mapping"),
    ({"tls_intercept": {"mode": True}}, "tls_intercept.mode", "ENABLED or DISABLED"),
    ({"tls_intercept": {"mode": "ENABLED"}}, "tls_intercept.ca.certificate", "netfw ca init"),
    (
        {"tls_intercept": {"mode": "ENABLED", "ca": {**CA, "certificate": "no.pem"}}},
        "tls_intercept.ca.certificate",
        "netfw ca init",
    ),
    ({"tls_intercept": {"bypass": ["a b"]}}, "tls_intercept.bypass[0]", ""),
    ({"tls_intercept": {"bypass": [{"source": "::/0"}]}}, "tls_intercept.bypass[0]", "write a domain"),
    ({"tls_intercept": {"organization": "a" * 65}}, "tls_intercept.organization", "longer than 64"),
    ({"tls_intercept": {"organization": 5}}, "tls_intercept.organization", "not a text"),
    ({"tls_intercept": {"only": []}}, "tls_intercept.only", "mode: DISABLED"),
    ({"tls_intercept": {"only": [{"domain": "a.test", "port": 0}]}}, "tls_intercept.only[0]", "1 to 65535"),
    ({"tls_intercept": {"only": [{"domain": "a.test", "ports": 1}]}}, "tls_intercept.only[0]", "write a domain"),
    ({"tunnels": {"opaque": True}}, "tunnels.opaque", "deny or allow"),
    ({"tunnels": {"opaque": "allow", "hosts": ["a.test"]}}, "tunnels.hosts", "every host"),
    ({"tunnels": {"hosts": ["a b"]}}, "tunnels.hosts[0]", ""),
    ({"consistency": {"connect_sni": "maybe"}}, "consistency.connect_sni", "deny or evaluate or allow"),
    ({"consistency": {"sni": "deny"}}, "consistency.sni", "unknown setting"),
    ({"consistency": {"cert_name": "allow"}}, "consistency.cert_name", "always checked"),
    ({"consistency": {"exceptions": [".a.test"]}}, "consistency.exceptions[0]", "write host:"),
    ({"consistency": {"exceptions": [{"host": "a b", "allow": "sni_host"}]}}, "consistency.exceptions[0]", ""),
    ({"consistency": {"exceptions": [{"host": "a.test"}]}}, "consistency.exceptions[0]", "excepted from nothing"),
    (
        {"consistency": {"exceptions": [{"host": "a.test", "allow": "cert_name"}]}},
        "consistency.exceptions[0]",
        "connect_sni or sni_host or missing_sni",
    ),
    (
        {"consistency": {"exceptions": [{"host": "a.test", "allow": "sni_host", "evaluate": ["sni_host"]}]}},
        "consistency.exceptions[0]",
        "two verdicts",
    ),
    ({"consistency": {"exceptions": [{"host": "a.test", "permit": "x"}]}}, "consistency.exceptions[0]", "not known"),
    ({"policy": None}, "policy", "names no rules"),
    ({"policy": {"store": "sqlite:///x"}}, "policy.last_good", "name a file"),
    ({"policy": {"store": "mysql://h/x", "last_good": "x"}}, "policy.store", "is no store"),
    ({"policy": {"store": "sqlite:///", "last_good": "x"}}, "policy.store", "names no file"),
    ({"policy": {"store": "postgresql://h", "last_good": "x"}}, "policy.store", "names no database"),
    ({"policy": {"store": "postgresql://u:secret@h/x", "last_good": "x"}}, "policy.store", "password_file"),
    ({"policy": {"store": "postgresql://[h/x", "last_good": "x"}}, "policy.store", "cannot be read"),
    ({"policy": {"store": "sqlite:///x", "last_good": "x", "file": "y"}}, "policy", "keep one"),
    ({"policy": {"store": "sqlite:///x", "last_good": "x", "password_file": "y"}}, "policy.password_file", "SQLite"),
    ({"policy": {"store": "sqlite:///x", "last_good": "no/x"}}, "policy.last_good", "does not exist"),
    ({"policy": {"file": "policy.yaml", "last_good": "x"}}, "policy.last_good", "belongs to a store"),
    ({"policy": {"file": "policy.yaml", "history": {"age": "1d"}}}, "policy.history", "belongs to a store"),
    ({"policy": {**STORE, "history": {}}}, "policy.history", "bounds nothing"),
    ({"policy": {**STORE, "history": {"generations": 0}}}, "policy.history.generations", "0"),
    ({"policy": {**STORE, "history": {"age": "5m"}}}, "policy.history.age", "leaves no way back"),
    ({"policy": {**STORE, "history": {"keep": 1}}}, "policy.history.keep", "unknown"),
    ({"policy": {"file": "policy.yaml", "directory": "."}}, "policy", "keep one"),
    ({"policy": {"file": "nowhere.yaml"}}, "policy.file", "does not exist"),
    ({"policy": {"directory": "nowhere"}}, "policy.directory", "does not exist"),
    ({"policy": {"file": "~/policy.yaml"}}, "policy.file", "home directory"),
    ({"dns": {"resolvers": ["dns.example"]}}, "dns.resolvers[0]", "not an address and port"),
    ({"dns": {"resolvers": ["192.0.2.1:0"]}}, "dns.resolvers[0]", "not an address and port"),
    ({"dns": {"hosts_file": "nowhere"}}, "dns.hosts_file", "does not exist"),
    ({"egress": {"source_addresses": ["0.0.0.0"]}}, "egress.source_addresses[0]", "cannot be a source"),
    ({"guard": {"private": "yes"}}, "guard.private", "deny or allow"),
    ({"guard": {"allow": ["*"]}}, "guard.allow[0]", "not a network"),
    ({"guard": {"allow_ports": [22, 0]}}, "guard.allow_ports[1]", "from 1 to 65535"),
    ({"upstream": {"proxies": [{"name": "a"}]}}, "upstream.proxies[0].url", "missing"),
    ({"upstream": {"proxies": [{"name": "a", "url": "http://u:p@h:1"}]}}, "upstream.proxies[0].url", "credentials"),
    ({"upstream": {"proxies": [{"name": "a", "url": "http://h"}]}}, "upstream.proxies[0].url", "not host:port"),
    ({"upstream": {"proxies": [{"name": "a", "url": "h:3128"}]}}, "upstream.proxies[0].url", "one like http://"),
    (
        {"upstream": {"proxies": [{"name": "a", "url": "http://127.0.0.1:3128"}]}},
        "upstream.proxies[0].url",
        "this proxy itself",
    ),
    (
        {"upstream": {"proxies": [{"name": "a", "url": "http://h:1", "trust": "ca.pem"}]}},
        "upstream.proxies[0].trust",
        "https://",
    ),
    (
        {"upstream": {"proxies": [{"name": "a", "url": "https://h:1", "certificate": "ca.pem"}]}},
        "upstream.proxies[0].private_key",
        "missing",
    ),
    (
        {"upstream": {"proxies": [{"name": "a", "url": "http://h:1"}, {"name": "a", "url": "http://h:2"}]}},
        "upstream.proxies[1].name",
        "another proxy's",
    ),
    (
        {"upstream": {"proxies": [{"name": "a", "url": "http://h:1", "credentials": "no"}]}},
        "upstream.proxies[0].credentials",
        "does not exist",
    ),
    ({"upstream": {"routes": [{"proxies": ["a"]}]}}, "upstream.routes[0].proxies[0]", "none of upstream.proxies"),
    ({"upstream": {"routes": [{}]}}, "upstream.routes[0]", "says no way"),
    ({"upstream": {"routes": [{"direct": True, "by": "name"}]}}, "upstream.routes[0].by", "no meaning"),
    ({"upstream": {"routes": [{"direct": True, "domains": []}]}}, "upstream.routes[0].domains", "is empty"),
    ({"upstream": {"routes": [{"direct": True, "domains": "a.test"}]}}, "upstream.routes", "where the rest goes"),
    ({"upstream": {"routes": [{"direct": True, "listeners": "x"}]}}, "upstream.routes[0].listeners[0]", "no listener"),
    ({"upstream": {"routes": [{"direct": True}, {"direct": True}]}}, "upstream.routes[0]", "put it last"),
    ({"upstream": {"health": {"interval": 0, "probe": "h:1"}}}, "upstream.health.probe", "never asked"),
    ({"upstream": {"health": {"fall": 0}}}, "upstream.health.fall", "from 1 to 100"),
    ({"egress": {"pools": [{"name": "a"}]}}, "egress.pools[0].addresses", "missing"),
    ({"egress": {"pools": [{"name": "a", "addresses": "::"}]}}, "egress.pools[0].addresses[0]", "cannot be a source"),
    (
        {"egress": {"pools": [{"name": "a", "addresses": "192.0.2.1"}, {"name": "b", "addresses": "192.0.2.2"}]}},
        "egress.pools[1]",
        "never used",
    ),
    ({"upstream": {"trust": []}}, "upstream.trust", "trusts nobody"),
    ({"upstream": {"trust": "no.pem"}}, "upstream.trust", "does not exist"),
    ({"upstream": {"trust": ["ca.pem", "no.pem"]}}, "upstream.trust[1]", "does not exist"),
    ({"upstream": {"minimum_tls": 1.1}}, "upstream.minimum_tls", "not secure"),
    ({"upstream": {"crl_files": "no.crl"}}, "upstream.crl_files", "does not exist"),
    ({"upstream": {"hosts": [{"domain": "a.example"}]}}, "upstream.hosts[0]", "neither roots nor pins"),
    ({"upstream": {"hosts": [{"domain": "a.example", "pins": []}]}}, "upstream.hosts[0]", "neither roots nor pins"),
    ({"upstream": {"hosts": [{"domain": "a.example", "insecure": True}]}}, "upstream.hosts[0].insecure", "unknown"),
    ({"upstream": {"hosts": [{"domain": "*", "roots": "ca.pem"}]}}, "upstream.hosts[0].domain", "not a domain"),
    ({"upstream": {"hosts": [{"domain": "a.example", "pins": ["sha256/AA"]}]}}, "upstream.hosts[0].pins[0]", "openssl"),
    ({"upstream": {"hosts": [{"domain": "a.example", "roots": "no.pem"}]}}, "upstream.hosts[0].roots", "not exist"),
    (
        {"upstream": {"hosts": [{"domain": name, "roots": "ca.pem"} for name in ("a.example", "A.example.")]}},
        "upstream.hosts[1].domain",
        "has an entry already",
    ),
    (
        {"upstream": {"client_certificates": [{"domain": "a.example", "certificate": "ca.pem"}]}},
        "upstream.client_certificates[0].private_key",
        "is missing",
    ),
    (
        {"upstream": {"client_certificates": [{"domain": "x", "certificate": "ca.pem", "private_key": "ca.pem"}]}},
        "upstream.client_certificates[0].private_key",
        "its owner's alone",
    ),
    ({"limits": {"head_size": "64KB"}}, "limits.head_size", "64KiB"),
    ({"limits": {"head_size": 5}}, "limits.head_size", "out of bounds"),
    ({"limits": {"connections": 0}}, "limits.connections", "whole number"),
    ({"limits": {"connectons": 5}}, "limits.connectons", "did you mean connections?"),
    ({"timeouts": {"head": 0}}, "timeouts.head", "needs an end"),
    ({"timeouts": {"head": "30 minutes"}}, "timeouts.head", "unknown unit"),
    ({"deny": {"style": "Auto"}}, "deny.style", "write auto"),
    ({"deny": {"opaque": "never"}}, "deny.opaque", "connect or after_200"),
    ({"deny": {"help_url": "javascript:x"}}, "deny.help_url", "http"),
    ({"deny": {"help_url": "https://x/{name}"}}, "deny.help_url", "{id}"),
    ({"deny": {"help_url": "https://x/\r\nX: y"}}, "deny.help_url", "URL"),
    ({"log": {"path": "x", "stdout": True}}, "log", "keep one"),
    ({"log": {"stdout": False}}, "log.stdout", "nowhere to go"),
    ({"log": {"path": "nowhere/x"}}, "log.path", "mkdir -p"),
    ({"log": {"path": "."}}, "log.path", "is a directory"),
    ({"admin": {"address": "10.0.0.1"}}, "admin.address", "not a loopback address"),
    ({"admin": {"port": 3128}}, "admin.port", "choose another"),
    ({"admin": {"socket": "x" * 120}}, "admin.socket", "107 bytes"),
    ({"admin": {"socket": "nowhere/x"}}, "admin.socket", "does not exist"),
    ({"workers": -1}, "workers", "from 0 to 256"),
    ({"workers": "many"}, "workers", "write auto"),
    ({"workers": False}, "workers", "not a whole number"),
]


@pytest.mark.parametrize(("sections", "path", "message"), WRONG, ids=[f"{case[1]}-{case[2]}" for case in WRONG])
def test_a_mistake_is_told_with_its_path_and_its_fix(
    write_config: Write, sections: dict[str, Any], path: str, message: str
) -> None:
    """Each at its own place."""
    found = problems_of(write_config(**sections))
    assert message in found[path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_an_exposed_ca_key_is_refused_with_the_command(write_config: Write, tmp_path: Path, mode: int) -> None:
    """Whoever reads it can pass for every site."""
    path = write_config(tls_intercept={"mode": "ENABLED", "ca": CA})
    load_config(path)
    os.chmod(tmp_path / "ca.key", mode)
    message = problems_of(path)["tls_intercept.ca.private_key"]
    assert f"chmod 0600 {tmp_path / 'ca.key'}" in message


def test_files_are_not_looked_for_on_request(write_config: Write) -> None:
    """Before `netfw ca init` there is no CA."""
    path = write_config(tls_intercept={"mode": "ENABLED", "ca": {"certificate": "x.pem", "private_key": "x.key"}})
    assert load_config(path, with_files=False).tls_intercept.enabled


def test_a_certificate_that_is_a_link_stays_one(write_config: Write, tmp_path: Path) -> None:
    """Certificates are renewed by moving links; directories are followed as the kernel does."""
    (tmp_path / "live.pem").symlink_to(tmp_path / "ca.pem")
    listener = {
        **LISTENER,
        "type": "HTTPS",
        "certificate": "../" + tmp_path.name + "/live.pem",
        "private_key": "ca.key",
    }
    assert load_config(write_config(listeners=[listener])).listeners[0].certificate == tmp_path / "live.pem"


def test_json_is_read_as_well(write_config: Write, tmp_path: Path) -> None:
    """By its suffix, with lines in problems too."""
    write_config()
    path = tmp_path / "proxy.json"
    path.write_text(json.dumps({"listeners": [LISTENER], "policy": {"file": "policy.yaml"}}, indent=1))
    assert load_config(path).listeners[0].port == 3128
    path.write_text(json.dumps({"listeners": [{**LISTENER, "port": -1}], "policy": {"file": "policy.yaml"}}, indent=1))
    with pytest.raises(ConfigErrors) as caught:
        load_config(path)
    assert caught.value.problems[0].line == 7


@pytest.mark.parametrize("content", ["", "[]", "x", "- a: b"])
def test_a_file_without_settings_is_refused(tmp_path: Path, content: str) -> None:
    """An empty file is no configuration."""
    path = tmp_path / "proxy.yaml"
    path.write_text(content)
    with pytest.raises(ConfigErrors, match="holds no settings"):
        load_config(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
KNOWN = [
    "proxy", "listeners", "tls_intercept", "policy", "dns", "egress", "guard", "upstream", "limits", "timeouts",
    "deny", "log", "admin", "workers", "name", "type", "address", "port", "clients", "mode", "ca", "bypass", "trust",
    "file", "resolvers", "head", "head_size", "help_url", "path", "stdout", "socket", "proxy_protocol", "from",
    "sources", "cidr", "listener", "vpce", "vpc", "account", "identity", "consistency", "exceptions", "connect_sni",
    "tunnels", "opaque", "hosts", "only",
]  # fmt: skip
sections = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KNOWN), inner, max_size=4),
    max_leaves=15,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(document=st.dictionaries(st.sampled_from(KNOWN), sections, max_size=6))
def test_any_document_is_a_configuration_or_problems(tmp_path: Path, document: dict[str, Any]) -> None:
    """No other exception comes out, whatever is where."""
    path = tmp_path / "proxy.json"
    path.write_text(json.dumps(document))
    try:
        load_config(path)
    except ConfigErrors as errors:
        assert errors.problems
        assert all(isinstance(problem, Problem) and problem.message for problem in errors.problems)


def test_a_store_is_found_beside_the_configuration(write_config: Write, tmp_path: Path) -> None:
    """A relative SQLite file is relative to the configuration, like every path."""
    path = write_config(policy={"store": "sqlite:///x.sqlite", "last_good": "kept"})
    policy = load_config(path).policy
    assert (policy.store, policy.last_good) == (f"sqlite:///{path.parent / 'x.sqlite'}", path.parent / "kept")
