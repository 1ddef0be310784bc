"""`netfw intercept` and `netfw pins` against the running proxy, in one process and with workers."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ROOT, ProxyProcess
from netfw.testing.wire_client import RoutedClient, WireClient


def netfw(proxy: ProxyProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command against this proxy."""
    return subprocess.run(
        [sys.executable, "-m", "netfw.cli.main", *arguments, "--config", str(proxy.config_path)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def issuer(proxy: ProxyProcess, origin: HttpOrigin) -> str:
    """Whose certificate a client is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        tls = client.start_tls(None, "origin.test", context=context)
        shown = subprocess.run(
            ["openssl", "x509", "-inform", "DER", "-noout", "-issuer"],
            input=tls.getpeercert(True), capture_output=True, check=True,
        )  # fmt: skip
        client.ask("GET", "/echo", f"origin.test:{origin.port}")
    return shown.stdout.decode()


@pytest.mark.parametrize("workers", [0, 2])
def test_off_and_on_again(workers: int, make_proxy: Callable[..., ProxyProcess], tls_origin: HttpOrigin) -> None:
    """At once and everywhere; with who, when and why on record and in the status; a reload changes nothing."""
    proxy = make_proxy(intercept=True, workers=workers)
    assert "Interception test CA" in issuer(proxy, tls_origin)
    assert proxy.status()["interception"] == {"in_force": True}
    done = netfw(proxy, "intercept", "off", "--reason", "ticket 42")
    assert done.returncode == 0, done.stderr
    assert "interception is off" in done.stdout
    for _ in range(4):
        assert "Origins' test CA" in issuer(proxy, tls_origin)
    state = proxy.status()["interception"]
    assert (state["in_force"], state["switched"]["by"]["uid"], state["switched"]["reason"]) == (
        False, os.getuid(), "ticket 42",
    )  # fmt: skip
    assert "netfw_interception_in_force 0.0" in proxy.admin("/metrics")[1].decode()
    proxy.config["tls_intercept"]["bypass"] = ["elsewhere.test"]
    proxy.config_path.write_text(yaml.safe_dump(proxy.config))
    assert proxy.admin("/reload", "POST")[0] == 200
    assert "Origins' test CA" in issuer(proxy, tls_origin)
    assert "was off already" in netfw(proxy, "intercept", "off").stdout
    assert "interception is on" in netfw(proxy, "intercept", "on").stdout
    for _ in range(4):
        assert "Interception test CA" in issuer(proxy, tls_origin)
    audits = proxy.wait_for_records(lambda record: record["kind"] == "audit", 3)
    assert [(audit["action"], audit["changed"], audit.get("reason")) for audit in audits] == [
        ("interception off", True, "ticket 42"), ("interception off", False, None), ("interception on", True, None),
    ]  # fmt: skip
    assert audits[0]["who"]["uid"] == os.getuid()
    assert audits[0]["who"]["pid"] > 0
    assert "interception.switched on=False" in proxy.log


def test_a_new_worker_does_not_intercept_either(
    make_proxy: Callable[..., ProxyProcess], tls_origin: HttpOrigin
) -> None:
    """One that takes the place of another while it is off."""
    proxy = make_proxy(intercept=True, workers=1)
    assert netfw(proxy, "intercept", "off").returncode == 0
    (before,) = proxy.status()["workers"]
    os.kill(before["pid"], 9)
    proxy.wait_until(lambda: [row["pid"] for row in proxy.status()["workers"] if row["state"] == "serving"] not in (
        [], [before["pid"]],
    ), timeout=30)  # fmt: skip
    assert "Origins' test CA" in issuer(proxy, tls_origin)


def test_nothing_to_switch(passing: ProxyProcess) -> None:
    """Where interception is not configured: exit status 1, and why."""
    done = netfw(passing, "intercept", "on")
    assert done.returncode == 1
    assert "tls_intercept.mode: DISABLED" in done.stdout
    assert netfw(passing, "intercept", "off", "--reason", "x" * 201).returncode == 2


def test_switching_over_a_port_is_refused(make_proxy: Callable[..., ProxyProcess], unused_port: int) -> None:
    """A port is open to every user of the machine."""
    import http.client

    make_proxy(intercept=True, admin={"address": "127.0.0.1", "port": unused_port})
    connection = http.client.HTTPConnection("127.0.0.1", unused_port, timeout=20)
    connection.request("POST", "/intercept/off")
    assert connection.getresponse().status == 403
    connection.close()


@pytest.fixture
def unused_port() -> int:
    """A port that nobody has."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_pins(workers: int, make_proxy: Callable[..., ProxyProcess], tls_origin: HttpOrigin, certificates: Any) -> None:
    """Real refusals, of the CA and of HTTP/1.1, are listed with an entry that helps; also from the records."""
    proxy = make_proxy(intercept=True, workers=workers)
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            RoutedClient(proxy.port(), "tls", "origin.test", tls_origin.port, trust=certificates.origin_ca)
    with WireClient(proxy.port()) as client:
        assert client.connect(f"other.test:{tls_origin.port}").status == 200
        with pytest.raises((ssl.SSLError, OSError)):
            client.start_tls(certificates.intercept[0], "other.test", alpn=("h2",))
    proxy.wait_for_records(lambda record: record["kind"] == "connect", 3)
    for source in ([], ["--records", str(proxy.records_path)]):
        done = netfw(proxy, "pins", "--json", *source)
        assert done.returncode == 0, done.stderr
        one, two = json.loads(done.stdout)["hosts"]
        assert (one["host"], one["signs"], one["clients"]) == ("origin.test", {"unknown_ca": 2}, ["127.0.0.1"])
        assert (two["host"], two["signs"]) == ("other.test", {"no_application_protocol": 1})
        assert two["bypass"] == {"domain": "other.test", "source": "127.0.0.1"}
    table = netfw(proxy, "pins").stdout
    assert "bypass: [{domain: origin.test, source: 127.0.0.1}]" in table
    metrics = proxy.admin("/metrics")[1].decode()
    assert 'netfw_leaf_refusals_total{sign="unknown_ca"} 2.0' in metrics
    assert 'netfw_leaf_refusals_total{sign="no_application_protocol"} 1.0' in metrics


def test_the_suggested_entry_helps(
    make_proxy: Callable[..., ProxyProcess], tls_origin: HttpOrigin, certificates: Any
) -> None:
    """With it in the configuration the client that refused is served by the origin itself."""
    entry = {"domain": "origin.test", "source": "127.0.0.1"}
    proxy = make_proxy(intercept=True, tls_intercept={"bypass": [entry]})
    with RoutedClient(proxy.port(), "tls", "origin.test", tls_origin.port, trust=certificates.origin_ca) as client:
        assert client.fetch("/echo").status == 200
