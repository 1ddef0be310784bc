"""Attempts at domain fronting, over real sockets: every combination of the four names that may disagree."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, domain_rule, policy
from netfw.testing.wire_client import WireClient, WireResponse

ONE, TWO = "origin.test", "other.test"
Origins = dict[str, HttpOrigin]


@pytest.fixture(scope="module")
def origins(certificates: Any) -> Iterator[Origins]:
    """An origin for each name, which can prove that name only."""
    made: Origins = {}
    with (
        HttpOrigin(tls=certificates.issue(certificates.origins, "front-one", ONE)) as one,
        HttpOrigin(tls=certificates.issue(certificates.origins, "front-two", TWO)) as two,
    ):
        made.update({ONE: one, TWO: two})
        yield made


def anybody() -> ssl.SSLContext:
    """A client that believes any certificate, as one that fronts would."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def attempt(proxy: ProxyProcess, port: int, connect: str, sni: str | None, host: str | None) -> WireResponse | str:
    """The answer to one request inside a tunnel, or why there was none."""
    with WireClient(proxy.port()) as client:
        assert client.connect(f"{connect}:{port}").status == 200
        try:
            client.sock = anybody().wrap_socket(client.sock, server_hostname=sni)
        except ssl.SSLError as error:
            return error.reason or "TLS"
        except OSError as error:
            return type(error).__name__
        if host is None:
            client.send(b"GET /echo?fronting HTTP/1.0\r\n\r\n")
        else:
            client.send(f"GET /echo?fronting HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return client.read_response("GET")


def with_port(host: str | None, port: int) -> str | None:
    return None if host is None else f"{host}:{port}"


COMBINATIONS = list(itertools.product((ONE, TWO), (ONE, TWO, None), (ONE, TWO, None), (ONE, TWO)))


@pytest.mark.parametrize(("connect", "sni", "host", "certificate"), COMBINATIONS)
def test_every_combination_is_refused_and_recorded(
    connect: str, sni: str | None, host: str | None, certificate: str, intercepting: ProxyProcess, origins: Origins
) -> None:
    """Intercepted: only where all names agree does a request reach the origin. What is refused is recorded with
    the names, and the origin has not seen a byte of it.
    """
    origin = origins[certificate]
    since, seen = len(intercepting.records()), len(origin.requests)
    answer = attempt(intercepting, origin.port, connect, sni, with_port(host, origin.port))
    record = intercepting.wait_for_record(lambda record: record["client_src_ip"] == "127.0.0.1", since=since)
    shown: dict[str, Any] = record.get("names") or {}
    agree = sni is not None and {name for name in (sni, host, certificate) if name is not None} == {connect}
    assert len(origin.requests) - seen == int(agree)
    if agree:
        assert isinstance(answer, WireResponse)
        assert answer.status == 200
        assert "names" not in record
        return
    assert (shown["verdict"], shown["connect"], shown["sni"]) == ("deny", connect, sni)
    if sni not in (None, connect):
        assert answer == "TLSV1_ALERT_ACCESS_DENIED"
        assert shown["check"] == "connect_sni"
    elif sni is None:
        assert isinstance(answer, WireResponse)
        assert answer.status == 421
        assert shown["check"] == "missing_sni"
        assert (shown["host"] or "").partition(":")[0] == (host or "")
        assert shown["certificate"] in (None, certificate)  # nobody is asked for it; a kept connection's is known
    else:
        assert isinstance(answer, WireResponse)
        assert answer.status == (502 if certificate != connect else 421)
        assert shown["check"] == ("certificate" if certificate != connect else "sni_host")
        assert (shown["host"] or "").partition(":")[0] == (host or "")
        assert shown["certificate"] == certificate
    if shown["check"] != "certificate":
        assert (record["final_action"], record["first_alert_match"]) == ("deny", shown["check"])
        assert record["final_rule_group_name"] == "consistency"


@pytest.mark.parametrize(("connect", "sni"), itertools.product((ONE, TWO), (ONE, TWO, None)))
def test_passed_through(connect: str, sni: str | None, passing: ProxyProcess, origins: Origins) -> None:
    """The server name is all that can be seen, and it has to be there."""
    origin = origins[connect]
    since, seen = len(passing.records()), len(origin.requests)
    answer = attempt(passing, origin.port, connect, sni, f"{connect}:{origin.port}")
    record = passing.wait_for_record(lambda record: record["kind"] in ("tunnel", "connect"), since=since)
    if sni == connect:
        assert isinstance(answer, WireResponse)
        assert answer.status == 200
        assert "names" not in record
        return
    assert answer == "TLSV1_ALERT_ACCESS_DENIED"
    assert len(origin.requests) == seen
    assert record["names"] == {
        "check": "connect_sni" if sni else "missing_sni", "verdict": "deny", "connect": connect, "sni": sni,
        "host": None, "certificate": None,
    }  # fmt: skip
    assert record["final_action"] == "deny"


RULES = policy(groups={"g": {"PreDNS": [domain_rule("no", "DENY", "denied.test")]}})
EVALUATE = {"connect_sni": "evaluate", "sni_host": "evaluate", "missing_sni": "evaluate"}


@pytest.mark.parametrize("intercept", [True, False])
def test_another_server_name_judged_by_itself(
    intercept: bool, make_proxy: Callable[..., ProxyProcess], origins: Origins
) -> None:
    """An allowed one is looked up and reached; a denied one is refused, and nobody is asked for it."""
    proxy = make_proxy(RULES, intercept=intercept, consistency=EVALUATE)
    origin = origins[TWO]
    answer = attempt(proxy, origin.port, ONE, TWO, f"{TWO}:{origin.port}")
    assert isinstance(answer, WireResponse)
    assert answer.status == 200
    record = proxy.wait_for_record(lambda record: record.get("dest_domain") == f"{TWO}.")
    assert (record["names"]["verdict"], record["names"]["connect"]) == ("evaluate", ONE)
    seen = len(origin.requests)
    answer = attempt(proxy, origin.port, ONE, "denied.test", f"denied.test:{origin.port}")
    if intercept:
        assert isinstance(answer, WireResponse)
        assert answer.status == 403
    else:
        assert answer == "TLSV1_ALERT_ACCESS_DENIED"
    assert len(origin.requests) == seen
    record = proxy.wait_for_record(lambda record: record.get("dest_domain") == "denied.test.")
    assert (record["final_action"], record["final_rule_name"]) == ("deny", "no")


def test_another_host_judged_by_itself(make_proxy: Callable[..., ProxyProcess], origins: Origins) -> None:
    """Each request of one connection by its own Host, over a connection that proved it."""
    proxy = make_proxy(RULES, intercept=True, consistency=EVALUATE)
    port = origins[ONE].port
    with WireClient(proxy.port()) as client:
        assert client.connect(f"{ONE}:{port}").status == 200
        client.sock = anybody().wrap_socket(client.sock, server_hostname=ONE)
        two = f"{TWO}:{origins[TWO].port}"
        hosts = [(f"{ONE}:{port}", 200), (two, 200), (f"denied.test:{port}", 403), (f"{TWO}:{port}", 502), (two, 200)]
        for host, status in hosts:
            client.send(f"GET /echo?judged HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert client.read_response("GET").status == status, host
    assert [request.single("Host") for request in origins[TWO].requests[-2:]] == [two, two]


def test_an_exception_by_host(make_proxy: Callable[..., ProxyProcess], origins: Origins) -> None:
    """Let through for one name alone."""
    exceptions = [{"host": ONE, "allow": "sni_host"}]
    proxy = make_proxy(RULES, intercept=True, consistency={"exceptions": exceptions})
    for connect, status in ((ONE, 200), (TWO, 421)):
        origin = origins[connect]
        answer = attempt(proxy, origin.port, connect, connect, f"fronted.test:{origin.port}")
        assert isinstance(answer, WireResponse)
        assert answer.status == status
    assert origins[ONE].requests[-1].single("Host") == f"fronted.test:{origins[ONE].port}"
    metrics = proxy.admin("/metrics")[1].decode()
    assert 'netfw_name_disagreements_total{check="sni_host",verdict="allow"} 1.0' in metrics
    assert 'netfw_name_disagreements_total{check="sni_host",verdict="deny"} 1.0' in metrics
