"""The control API over a store: no update is lost, large groups fit, and a store that is away is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.postgresql import PostgresServer, programs
from netfw.testing.proxy_process import ProxyProcess, condition, domain_rule
from netfw.testing.stores import following, wait_until
from tests.integration.test_control_files import UnixConnection, call

# The n-th success costs n tries: PostgreSQL, whose tries cost more, has fewer of them.
EDITORS = {"sqlite": 50, "postgresql": 25}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """The server."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path, dns: DnsServer) -> Iterator[ProxyProcess]:
    """A proxy that follows an empty store, on each engine."""
    url = f"sqlite:///{tmp_path / 'policy.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").fresh_database(f"t{uuid4().hex[:12]}")
    with following(tmp_path / "p", url, resolver_port=dns.port, control={"rate": 0}) as running:
        yield running


def asking(proxy: ProxyProcess) -> Callable[..., dict[str, Any]]:
    """Calls over the socket; the answer, whether it is an error or not."""
    path = Path(proxy.config["admin"]["socket"])

    def ask(operation: str, **given: Any) -> dict[str, Any]:
        return call(UnixConnection(path), operation, given)[1]

    return ask


@pytest.mark.timeout(400)
def test_editors_at_the_same_time_lose_no_update(proxy: ProxyProcess) -> None:
    """Each adds a condition to the same rule, from what it has read, until nobody was in between."""
    ask = asking(proxy)
    editors = EDITORS[proxy.config["policy"]["store"].partition(":")[0]]
    ask("CreateProxyRuleGroup", ProxyRuleGroupName="g", Rules={"PreDNS": [domain_rule("r", "ALLOW", "first.test")]})

    def edit(number: int) -> int:
        for attempt in range(1, 1000):
            token = ask("DescribeProxyRule", ProxyRuleGroupName="g", ProxyRuleName="r")["UpdateToken"]
            answer = ask(
                "UpdateProxyRule",
                ProxyRuleGroupName="g",
                ProxyRuleName="r",
                AddConditions=[condition("request:DestinationDomain", "StringEquals", f"e{number}.test")],
                UpdateToken=token,
            )
            if "__type" not in answer:
                return attempt
            assert answer["__type"] == "InvalidTokenException", answer
        raise AssertionError("never the first")

    with ThreadPoolExecutor(editors) as pool:
        attempts = list(pool.map(edit, range(editors)))
    rule = ask("DescribeProxyRule", ProxyRuleGroupName="g", ProxyRuleName="r")["ProxyRule"]
    domains = [one["ConditionValues"][0] for one in rule["Conditions"]]
    assert sorted(domains) == sorted(["first.test", *(f"e{number}.test" for number in range(editors))])
    assert len(attempts) == editors


@pytest.mark.timeout(300)
def test_a_group_of_a_thousand_rules_comes_in_one_call(proxy: ProxyProcess) -> None:
    """And is shown as it came; one more rule is over the quota."""
    ask = asking(proxy)
    rules = [domain_rule(f"r{number}", "ALLOW", f"h{number}.example") for number in range(1000)]
    made = ask("CreateProxyRuleGroup", ProxyRuleGroupName="large", Rules={"PreDNS": rules})
    assert made["ProxyRuleGroup"]["Rules"]["PreDNS"] == rules
    assert ask("DescribeProxyRuleGroup", ProxyRuleGroupName="large")["ProxyRuleGroup"]["Rules"]["PreDNS"] == rules
    refused = ask(
        "CreateProxyRules", ProxyRuleGroupName="large", Rules={"PreREQUEST": [domain_rule("x", "DENY", "x.test")]}
    )
    assert refused["__type"] == "LimitExceededException"


@pytest.mark.timeout(300)
def test_a_store_that_is_away_is_an_error_of_ours(postgres: PostgresServer, tmp_path: Path, dns: DnsServer) -> None:
    """Which clients try again; when it is back, so is the API, without a restart."""
    url = postgres.fresh_database(f"t{uuid4().hex[:12]}")
    with following(tmp_path / "p", url, resolver_port=dns.port, control={"rate": 0}) as proxy:
        ask = asking(proxy)
        assert "__type" not in ask("CreateProxyRuleGroup", ProxyRuleGroupName="g")
        postgres.kill()
        try:
            refused = ask("DeleteProxyRuleGroup", ProxyRuleGroupName="g")
            assert refused["__type"] == "InternalServerError"
        finally:
            postgres.start()
        wait_until(lambda: "__type" not in ask("DescribeProxyRuleGroup", ProxyRuleGroupName="g"))


@pytest.mark.timeout(300)
def test_the_api_turns_interception_off_and_on_in_the_running_proxy(
    tmp_path: Path, dns: DnsServer, certificates: Any
) -> None:
    """Without a restart, and the status says by whom."""
    url = f"sqlite:///{tmp_path / 'policy.sqlite'}"
    certificate, key = certificates.intercept
    intercept = {"mode": "ENABLED", "ca": {"certificate": str(certificate), "private_key": str(key)}}
    with following(tmp_path / "p", url, resolver_port=dns.port, tls_intercept=intercept) as proxy:
        ask = asking(proxy)
        defaults = dict.fromkeys(("PreDNS", "PreREQUEST", "PostRESPONSE"), "DENY")
        ask("CreateProxyConfiguration", ProxyConfigurationName="main", DefaultRulePhaseActions=defaults)
        made = ask(
            "CreateProxy",
            ProxyName="netfw-test",
            NatGatewayId="nat-1",
            ProxyConfigurationName="main",
            TlsInterceptProperties={"TlsInterceptMode": "DISABLED"},
        )
        wait_until(lambda: proxy.status()["interception"]["in_force"] is False)
        assert proxy.status()["interception"]["switched"]["by"] == {"store": "proxy netfw-test"}
        ask(
            "UpdateProxy",
            ProxyName="netfw-test",
            NatGatewayId="nat-1",
            TlsInterceptProperties={"TlsInterceptMode": "ENABLED"},
            UpdateToken=made["UpdateToken"],
        )
        wait_until(lambda: proxy.status()["interception"]["in_force"] is True)
