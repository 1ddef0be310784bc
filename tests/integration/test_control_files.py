"""The control API of a proxy whose policy is files: reads are answered, changes refused, over every way in."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netfw.control.access_keys import AccessKey, AccessKeys, text_of_keys
from netfw.control.roles import Role
from netfw.control.signature import sign
from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import ProxyProcess, configuration, domain_rule, merge, policy

KEY = AccessKey("NFWK" + "A" * 16, "s" * 40, "ann", frozenset({Role.OWNER}))
TYPE = "application/x-amz-json-1.0"


class UnixConnection(http.client.HTTPConnection):
    """Over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def call(
    connection: http.client.HTTPConnection, operation: str, given: dict[str, Any], fields: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """The status and the answer of a call."""
    headers = {"Content-Type": TYPE, "X-Amz-Target": f"NetworkFirewall_20201112.{operation}", **(fields or {})}
    connection.request("POST", "/", json.dumps(given), headers)
    response = connection.getresponse()
    assert response.headers["Content-Type"] == TYPE
    assert len(response.headers["x-amzn-requestid"]) == 36
    answer: dict[str, Any] = json.loads(response.read())
    connection.close()
    return response.status, answer


def signature(host: str, operation: str, given: dict[str, Any], secret: str = KEY.secret) -> dict[str, str]:
    """The fields that sign a call."""
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    fields = [
        ("content-type", TYPE),
        ("host", host),
        ("x-amz-date", date),
        ("x-amz-target", f"NetworkFirewall_20201112.{operation}"),
    ]
    body = json.dumps(given).encode()
    authorization = sign(
        fields, body, key=KEY.id, secret=secret, region="us-east-2", service="network-firewall", date=date
    )
    return {"X-Amz-Date": date, "Host": host, "Authorization": authorization}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ProxyProcess]]:
    """Starts a proxy with a group in its policy file and a key."""
    started: list[ProxyProcess] = []

    def begin(**changes: Any) -> ProxyProcess:
        keys = tmp_path / "keys.json"
        descriptor = os.open(keys, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text_of_keys(AccessKeys([KEY])))
        rules = policy(groups={"web": {"PreDNS": [domain_rule("allowed", "ALLOW", "origin.test")]}})
        admin = {"address": "127.0.0.1", "port": free_port()}
        ours = {"admin": admin, "control": {"keys": str(keys), "audit": str(tmp_path / "audit.jsonl")}}
        config = merge(merge(configuration(tmp_path), ours), changes)
        proxy = ProxyProcess(tmp_path, config, rules)
        started.append(proxy)
        return proxy.start()

    yield begin
    for proxy in started:
        proxy.stop()


@pytest.mark.parametrize("workers", [0, 1])
def test_reads_are_answered_and_changes_refused(
    start: Callable[..., ProxyProcess], tmp_path: Path, workers: int
) -> None:
    """In one process and in several; who asks over the socket is known without a signature."""
    proxy = start(workers=workers, proxy={"name": "edge", "hostname": "proxy.test"})

    def ask(operation: str, **given: Any) -> tuple[int, dict[str, Any]]:
        return call(UnixConnection(Path(proxy.config["admin"]["socket"])), operation, given)

    status, group = ask("DescribeProxyRuleGroup", ProxyRuleGroupName="web")
    assert status == 200
    assert group["ProxyRuleGroup"]["Rules"] == {"PreDNS": [domain_rule("allowed", "ALLOW", "origin.test")]}
    assert ask("ListProxyRuleGroups")[1]["ProxyRuleGroups"][0]["Name"] == "web"
    found = ask("DescribeProxyConfiguration", ProxyConfigurationName="test")[1]["ProxyConfiguration"]
    assert found["DefaultRulePhaseActions"]["PreDNS"] == "ALLOW"
    described = ask("DescribeProxy", ProxyName="edge")[1]["Proxy"]
    assert (described["ProxyState"], described["PrivateDNSName"]) == ("ATTACHED", "proxy.test")
    assert described["ListenerProperties"][0]["Port"] == proxy.status()["listeners"][0]["port"]
    assert proxy.status()["hostname"] == "proxy.test"
    status, refused = ask("DeleteProxyRuleGroup", ProxyRuleGroupName="web")
    assert (status, refused["__type"]) == (400, "UnsupportedOperationException")
    assert str(proxy.policy_path) in refused["Message"]
    assert ask("DescribeProxyRuleGroup", ProxyRuleGroupName="no")[1]["__type"] == "ResourceNotFoundException"
    assert ask("CreateFirewall")[1]["__type"] == "UnknownOperationException"


def test_the_port_asks_for_a_signature(start: Callable[..., ProxyProcess], tmp_path: Path) -> None:
    """Of a key that is known, over exactly this request; and refused changes are audited with who asked."""
    proxy = start()
    port = proxy.config["admin"]["port"]
    host = f"127.0.0.1:{port}"

    def ask(operation: str, fields: dict[str, str], **given: Any) -> tuple[int, dict[str, Any]]:
        return call(http.client.HTTPConnection("127.0.0.1", port, timeout=30), operation, given, fields)

    assert ask("ListProxies", {})[1]["__type"] == "MissingAuthenticationTokenException"
    assert ask("ListProxies", signature(host, "ListProxies", {}, "t" * 40))[1]["__type"] == "InvalidSignatureException"
    assert ask("DeleteProxy", signature(host, "ListProxies", {}))[1]["__type"] == "InvalidSignatureException"
    status, answer = ask("ListProxies", signature(host, "ListProxies", {}))
    assert (status, [one["Name"] for one in answer["Proxies"]]) == (200, ["netfw-test"])
    given = {"ProxyRuleGroupName": "web"}
    refused = ask("DeleteProxyRuleGroup", signature(host, "DeleteProxyRuleGroup", given), **given)[1]
    assert refused["__type"] == "UnsupportedOperationException"
    (tmp_path / "keys.json").write_text(text_of_keys(AccessKeys([KEY]).revoking(KEY.id, 1.0)))
    assert ask("ListProxies", signature(host, "ListProxies", {}))[1]["__type"] == "UnrecognizedClientException"
    proxy.stop()
    (record,) = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert (record["who"], record["key"], record["operation"]) == ("ann", KEY.id, "DeleteProxyRuleGroup")
    assert (record["outcome"], record["changes"]) == ("UnsupportedOperationException", [])
    assert record["from"].startswith("127.0.0.1:")
    assert KEY.secret not in proxy.log
    proxy.start()


def test_a_certificate_makes_the_port_speak_tls(start: Callable[..., ProxyProcess], tmp_path: Path) -> None:
    """The same calls, and the same pages."""
    authority = TestAuthority("admin CA")
    for name, pem in zip(("admin.pem", "admin.key"), authority.issue("127.0.0.1"), strict=True):
        (tmp_path / name).write_bytes(pem)
        (tmp_path / name).chmod(0o600)
    proxy = start(admin={"certificate": str(tmp_path / "admin.pem"), "private_key": str(tmp_path / "admin.key")})
    port = proxy.config["admin"]["port"]
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    secure = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    status, answer = call(secure, "ListProxies", {}, signature(f"127.0.0.1:{port}", "ListProxies", {}))
    assert (status, len(answer["Proxies"])) == (200, 1)
    secure.request("GET", "/healthz", headers={"Host": "localhost"})
    assert secure.getresponse().status == 200


def test_what_is_no_call_is_refused(start: Callable[..., ProxyProcess], tmp_path: Path) -> None:
    """Methods, bodies, types, and the paths of another protocol."""
    proxy = start()
    path = Path(proxy.config["admin"]["socket"])
    target = {"X-Amz-Target": "NetworkFirewall_20201112.ListProxies", "Content-Type": TYPE}
    for method, where, fields, body, status in (
        ("GET", "/", {}, None, 405),
        ("POST", "/service/NetworkFirewall_20201112/operation/ListProxies", target, b"\xa0", 404),
        ("POST", "/", {**target, "Content-Type": "application/json"}, b"{}", 400),
        ("POST", "/?a=b", target, b"{}", 400),
        ("POST", "/", target, b"[]", 400),
        ("POST", "/", target, b"{" * 100_000, 400),
        ("POST", "/", {"Content-Type": TYPE}, b"x" * 5000, 413),
    ):
        connection = UnixConnection(path)
        connection.request(method, where, body, fields)
        assert connection.getresponse().status == status, (method, where)
        connection.close()
