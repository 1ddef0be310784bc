"""Real AWS clients against the real server and a real store: boto3 and the AWS CLI, as they were and as they are."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import netfw.control
from netfw.control.access_keys import AccessKey, AccessKeys, text_of_keys
from netfw.control.roles import Role
from netfw.control.service_model import OPERATIONS
from netfw.testing.dns_server import DnsServer
from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.stores import allows, following, wait_until
from tests.integration.test_control_files import free_port

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".cache" / "aws"
SCRIPTS = ROOT / "tests" / "conformance" / "clients"
DESCRIPTION = Path(netfw.control.__file__).parent / "botocore"
KEY = AccessKey("NFWK" + "A" * 16, "s" * 40, "ann", frozenset({Role.OWNER}))
VIEWER = AccessKey("NFWK" + "B" * 16, "t" * 40, "bob", frozenset({Role.VIEWER}))
REFUSED = 255
"""The exit status of the AWS CLI, version 1, for an answer that is an error."""
WAYS = [("pinned", "network-firewall"), ("newest", "network-firewall"), ("newest", "nfw-proxy")]


def environment(proxy: ProxyProcess, client: str, key: AccessKey = KEY) -> dict[str, str]:
    """What a client's process gets. Only the newest needs our description."""
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(proxy.directory),
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_DEFAULT_REGION": "us-east-2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    }
    return {**given, "AWS_DATA_PATH": str(DESCRIPTION)} if client == "newest" else given


def endpoint(proxy: ProxyProcess) -> str:
    """The address of the API."""
    return f"http://127.0.0.1:{proxy.config['admin']['port']}"


def program(client: str, name: str) -> str:
    """A program of a client's environment; the test is skipped where there is none."""
    path = CLIENTS / client / "bin" / name
    if not path.exists():
        pytest.skip(f"the AWS client {client} is not there: run scripts/make-aws-clients")
    return str(path)


@pytest.fixture
def start(tmp_path: Path, dns: DnsServer) -> Iterator[Callable[..., ProxyProcess]]:
    """Starts a proxy that follows an empty store, with two keys."""
    started: list[ProxyProcess] = []

    def begin(**control: Any) -> ProxyProcess:
        keys = tmp_path / "keys.json"
        with os.fdopen(os.open(keys, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text_of_keys(AccessKeys([KEY, VIEWER])))
        section = {"keys": str(keys), "audit": str(tmp_path / "audit.jsonl"), "rate": 0, **control}
        proxy = following(
            tmp_path / "p",
            f"sqlite:///{tmp_path / 'policy.sqlite'}",
            resolver_port=dns.port,
            name="edge",
            admin={"address": "127.0.0.1", "port": free_port()},
            control=section,
        )
        proxy.config["proxy"]["hostname"] = "proxy.test"
        proxy.config_path.write_text(json.dumps(proxy.config))
        started.append(proxy)
        return proxy.start()

    yield begin
    for proxy in started:
        proxy.stop()


def run(proxy: ProxyProcess, client: str, script: str, service: str, **how: Any) -> dict[str, Any]:
    """What a script of boto3 prints."""
    python = program(client, "python")
    ended = subprocess.run(
        [python, str(SCRIPTS / script), service, endpoint(proxy)],
        env=environment(proxy, client, **how),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr + proxy.log[-2000:]
    printed: dict[str, Any] = json.loads(ended.stdout)
    return printed


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("client", "service"), WAYS)
def test_boto3_lives_the_life_of_a_proxy(
    start: Callable[..., ProxyProcess], tmp_path: Path, client: str, service: str
) -> None:
    """Every operation, and every error of the model that a request can provoke; each change is audited."""
    proxy = start(quotas={"rule_groups": 10})
    told = run(proxy, client, "life_of_a_proxy.py", service)
    assert len(told["done"]) == len(OPERATIONS)
    assert told["refused"] == [
        "InvalidRequestException",
        "InvalidTokenException",
        "LimitExceededException",
        "ResourceNotFoundException",
        "UnsupportedOperationException",
    ]
    writing = sorted(operation.name for operation in OPERATIONS if operation.writes)

    def audited() -> list[dict[str, Any]] | None:
        records = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        return records if sum(record["operation"] == "DeleteProxyRuleGroup" for record in records) > 10 else None

    records = wait_until(audited)
    assert sorted({record["operation"] for record in records if record["outcome"] == "done"}) == writing
    generations = [record["generation"] for record in records if record["generation"] is not None]
    assert generations == sorted(set(generations))
    assert {record["who"] for record in records} == {"ann"}


@pytest.mark.parametrize("client", ["pinned", "newest"])
def test_throttling_and_our_own_failures_are_the_models_errors(
    start: Callable[..., ProxyProcess], tmp_path: Path, client: str
) -> None:
    """boto3 raises the typed exception of each, and of a viewer who would change something."""
    proxy = start(rate=1, burst=20)
    told = run(proxy, client, "refusals.py", "network-firewall", key=VIEWER)
    assert told == {"denied": "AccessDeniedException", "throttled": "ThrottlingException"}
    (tmp_path / "keys.json").write_text("{")
    told = run(proxy, client, "failure.py", "network-firewall")
    assert told == {"failed": "InternalServerError", "status": 500}
    (tmp_path / "keys.json").write_text(text_of_keys(AccessKeys([KEY, VIEWER])))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("client", "service"), [WAYS[0], WAYS[2]])
def test_the_command_line_changes_what_the_proxy_decides(
    start: Callable[..., ProxyProcess], client: str, service: str
) -> None:
    """Groups, a configuration and the proxy by the AWS CLI; then the name that was closed is open, and closed again."""
    proxy = start(quotas={"rule_groups": 1})

    def aws(*arguments: str, code: int = 0) -> Any:
        ended = subprocess.run(
            [program(client, "aws"), service, *arguments, "--endpoint-url", endpoint(proxy), "--output", "json"],
            env={**environment(proxy, client), "AWS_MAX_ATTEMPTS": "1"},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert ended.returncode == code, ended.stderr
        return json.loads(ended.stdout) if ended.stdout else ended.stderr

    assert not allows(proxy, "missing.test")
    conditions = [
        {
            "ConditionKey": "request:DestinationDomain",
            "ConditionOperator": "StringEquals",
            "ConditionValues": ["missing.test"],
        }
    ]
    rules = {"PreDNS": [{"ProxyRuleName": "open", "Action": "ALLOW", "Conditions": conditions}]}
    aws("create-proxy-rule-group", "--proxy-rule-group-name", "web", "--rules", json.dumps(rules))
    aws(
        "create-proxy-configuration", "--proxy-configuration-name", "main", "--rule-group-names", "web",
        "--default-rule-phase-actions", "PreDNS=DENY,PreREQUEST=ALLOW,PostRESPONSE=ALLOW",
    )  # fmt: skip
    made = aws(
        "create-proxy", "--proxy-name", "edge", "--nat-gateway-id", "nat-1", "--proxy-configuration-name", "main",
        "--tls-intercept-properties", "TlsInterceptMode=DISABLED",
    )  # fmt: skip
    assert made["Proxy"]["ProxyArn"].endswith(":proxy/edge")
    wait_until(lambda: allows(proxy, "missing.test"))
    attached = wait_until(
        lambda: (
            found
            if (found := aws("describe-proxy", "--proxy-name", "edge")["Proxy"])["ProxyState"] == "ATTACHED"
            else None
        )
    )
    assert attached["PrivateDNSName"] == "proxy.test"
    token = aws("describe-proxy-rule-group", "--proxy-rule-group-name", "web")["UpdateToken"]
    update = ("update-proxy-rule", "--proxy-rule-group-name", "web", "--proxy-rule-name", "open", "--action", "DENY")
    aws(*update, "--update-token", token)
    wait_until(lambda: not allows(proxy, "missing.test"))
    assert "(InvalidTokenException)" in aws(*update, "--update-token", token, code=REFUSED)
    # Every other error of the model, as it comes to who types.
    create = ("create-proxy-rule-group", "--proxy-rule-group-name")
    assert "(InvalidRequestException)" in aws(*create, "a_b", code=REFUSED)
    assert "(LimitExceededException)" in aws(*create, "second", code=REFUSED)
    assert "(ResourceNotFoundException)" in aws("describe-proxy", "--proxy-name", "nobody", code=REFUSED)
    told = aws(
        "update-proxy", "--proxy-name", "edge", "--nat-gateway-id", "nat-1", "--tls-intercept-properties",
        "TlsInterceptMode=ENABLED", "--update-token", aws("describe-proxy", "--proxy-name", "edge")["UpdateToken"],
        code=REFUSED,
    )  # fmt: skip
    assert "(UnsupportedOperationException)" in told and "tls_intercept.mode" in told
    keys = Path(proxy.config["control"]["keys"])
    kept = keys.read_text()
    keys.write_text("{")
    assert "(InternalServerError)" in aws("list-proxies", code=REFUSED)
    keys.write_text(kept)


@pytest.mark.parametrize(("client", "service"), [WAYS[0], WAYS[2]])
def test_who_types_too_often_is_told(start: Callable[..., ProxyProcess], client: str, service: str) -> None:
    """While another program uses up all that the key may ask."""
    proxy = start(rate=1, burst=1)
    script = str(SCRIPTS / "asking.py")
    given = {**environment(proxy, client), "AWS_MAX_ATTEMPTS": "1"}
    other = subprocess.Popen([program(client, "python"), script, service, endpoint(proxy)], env=given)
    command = [program(client, "aws"), service, "list-proxies", "--endpoint-url", endpoint(proxy)]

    def throttled() -> bool:
        ended = subprocess.run(command, env=given, capture_output=True, text=True, timeout=110, check=False)
        return ended.returncode == REFUSED and "(ThrottlingException)" in ended.stderr

    try:
        wait_until(throttled)
    finally:
        other.kill()
        other.wait()
