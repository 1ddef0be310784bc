"""The verbs as clients of a running proxy's control API: over its socket, over its port with a key, and without it."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from netfw.cli.credentials import Profile, write_profile
from netfw.cli.groups import attach_command
from netfw.cli.main import netfw
from netfw.control.access_keys import AccessKey, AccessKeys, text_of_keys
from netfw.control.roles import Role
from netfw.testing.dns_server import DnsServer
from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import ProxyProcess, domain_rule, policy
from netfw.testing.stores import allows, following, wait_until
from tests.integration.test_control_files import free_port

EDITORS = 50
KEYS = {
    "owner": AccessKey("NFWK" + "A" * 16, "a" * 40, "ann", frozenset({Role.OWNER})),
    "editor": AccessKey("NFWK" + "B" * 16, "b" * 40, "eve", frozenset({Role.EDITOR}), ("team-*",)),
    "viewer": AccessKey("NFWK" + "C" * 16, "c" * 40, "vic", frozenset({Role.VIEWER})),
}
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, dns: DnsServer) -> Iterator[ProxyProcess]:
    """A proxy that follows an empty store, with the API on its socket and, with TLS, on a port."""
    directory = tmp_path_factory.mktemp("verbs")
    with os.fdopen(os.open(directory / "keys.json", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(text_of_keys(AccessKeys(KEYS.values())))
    authority = TestAuthority("admin CA")
    (directory / "ca.pem").write_bytes(authority.certificate_pem)
    for name, pem in zip(("admin.pem", "admin.key"), authority.issue("127.0.0.1"), strict=True):
        (directory / name).write_bytes(pem)
        (directory / name).chmod(0o600)
    running = following(
        directory / "p",
        f"sqlite:///{directory / 'policy.sqlite'}",
        resolver_port=dns.port,
        name="edge",
        admin={
            "address": "127.0.0.1",
            "port": free_port(),
            "certificate": str(directory / "admin.pem"),
            "private_key": str(directory / "admin.key"),
        },
        control={
            "keys": str(directory / "keys.json"),
            "audit": str(directory / "audit.jsonl"),
            "quotas": {"groups_per_configuration": "none"},
            "rate": 0,
        },
    )
    with running:
        yield running


@pytest.fixture
def home(proxy: ProxyProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credentials file with a profile for each key."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "NETFW_ENDPOINT", "NETFW_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETFW_CREDENTIALS", str(tmp_path / "credentials"))
    endpoint = f"https://127.0.0.1:{proxy.config['admin']['port']}"
    trusted = str(proxy.directory.parent / "ca.pem")
    for name, key in KEYS.items():
        write_profile(name, Profile(endpoint, key.id, key.secret, ca_certificate=trusted, proxy="edge"))
    return tmp_path


def run(*arguments: str, status: int = 0) -> str:
    """Run a verb; it must end with this status. What it printed."""
    result = CliRunner().invoke(netfw, list(arguments))
    assert result.exit_code == status, (result.output, result.exception)
    return result.output


def written(directory: Path, document: dict[str, Any]) -> str:
    """A file of a policy."""
    path = directory / "policy.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return str(path)


def rules(group: str, *names: str) -> dict[str, Any]:
    """A policy whose one group has these rules."""
    return policy(
        pre_dns="DENY", groups={group: {"PreDNS": [domain_rule(name, "ALLOW", f"{name}.test") for name in names]}}
    )


def audited(proxy: ProxyProcess) -> list[dict[str, Any]]:
    """The audit records."""
    return [json.loads(line) for line in (proxy.directory.parent / "audit.jsonl").read_text().splitlines()]


def test_a_life_over_each_way(proxy: ProxyProcess, home: Path) -> None:
    """The same verbs, the same outcome, another name in history and on record; the proxy follows."""
    for who, place in (
        (pwd.getpwuid(os.getuid()).pw_name, ("--config", str(proxy.config_path))),
        ("ann", ("--profile", "owner")),
    ):
        file = written(home, rules("team-a", "one", f"for-{who}"))
        planned = run("apply", file, "--dry-run", *place)
        assert f"rule for-{who}" in planned
        assert "applied as generation" in run("apply", file, "--yes", *place)
        assert "nothing to do" in run("apply", file, "--yes", *place)
        wait_until(lambda who=who: allows(proxy, f"for-{who}.test"))
        made = json.loads(run("allow", "late.test", "--for", "2h", "--why", "release", "--json", *place))
        assert made["owner"] == who
        wait_until(lambda: allows(proxy, "late.test"))
        assert made["name"] in run("exceptions", *place)
        assert json.loads(run("priorities", "--json", *place))["groups"] == ["exceptions", "team-a"]
        assert "generation" in run("detach", "exceptions", *place)
        run("attach", "exceptions", "--position", "1", *place)
        run("priorities", "exceptions", *place)
        assert json.loads(run("exceptions", "--end", made["name"], "--json", *place)) == []
        assert "ProxyConfigurationName: test" in run("export", *place)
        assert "team-a" in run("groups", *place)
        newest = json.loads(run("history", "--limit", "1", "--json", *place))[0]
        assert newest["editor"] == who
        assert "as in generation" in run("rollback", str(newest["generation"] - 1), "--yes", *place)
        run("exceptions", "--end", made["name"], *place)
    wait_until(lambda: audited(proxy)[-1]["operation"] == "EndExceptions")
    local, signed = audited(proxy)[0], audited(proxy)[-1]
    assert local["from"].startswith("socket, uid ") and local["key"] is None
    assert signed["from"].startswith("127.0.0.1:") and signed["key"] == KEYS["owner"].id


def test_roles_hold_for_verbs(proxy: ProxyProcess, home: Path) -> None:
    """An editor changes its groups alone, a viewer nothing; what was refused is on record."""
    run("apply", written(home, rules("team-b", "one")), "--yes", "--profile", "owner")
    team = {"ProxyRuleGroups": [{"ProxyRuleGroupName": "team-b", "allow": ["two.test"]}]}
    run("apply", written(home, team), "--yes", "--profile", "editor")
    assert "it takes an operator" in run("detach", "team-b", "--profile", "editor", status=1)
    other = {"ProxyRuleGroups": [{"ProxyRuleGroupName": "payments", "allow": ["two.test"]}]}
    assert "it takes an owner, or its editor" in run(
        "apply", written(home, other), "--yes", "--profile", "editor", status=1
    )
    assert "a viewer changes nothing" in run(
        "allow", "x.test", "--for", "1h", "--why", "w", "--profile", "viewer", status=1
    )
    wait_until(lambda: [one["outcome"] for one in audited(proxy)[-3:]] == ["AccessDeniedException"] * 3)
    assert "team-b" in run("groups", "--profile", "viewer")


def test_what_goes_wrong_on_the_way_is_said(proxy: ProxyProcess, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA that is not trusted, a key that is not known, nobody there, no key at all."""
    endpoint = f"https://127.0.0.1:{proxy.config['admin']['port']}"
    owner = KEYS["owner"]
    write_profile("untrusted", Profile(endpoint, owner.id, owner.secret))
    assert "not from somebody who is trusted" in run("groups", "--profile", "untrusted", status=1)
    trusted = str(proxy.directory.parent / "ca.pem")
    write_profile("unknown", Profile(endpoint, "NFWK" + "Z" * 16, "z" * 40, ca_certificate=trusted))
    assert "is not known here" in run("groups", "--profile", "unknown", status=1)
    assert "nobody answers on" in run("groups", "--endpoint", f"http://127.0.0.1:{free_port()}", status=1)
    monkeypatch.setenv("NETFW_CA_CERTIFICATE", trusted)
    assert "AWS_ACCESS_KEY_ID" in run("groups", "--endpoint", endpoint, status=1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", owner.id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", owner.secret)
    assert run("groups", "--endpoint", endpoint, "--json").startswith("[")


@pytest.mark.timeout(400)
def test_many_editors_at_once_lose_no_update(proxy: ProxyProcess, home: Path) -> None:
    """Each attaches its own group to the same configuration, in front of all: every one is there afterwards."""
    groups = [{"ProxyRuleGroupName": f"many-{number}", "Rules": {}} for number in range(EDITORS)]
    file = written(home, {**policy(), "ProxyRuleGroups": groups})
    place = ("--config", str(proxy.config_path))
    run("apply", file, "--yes", *place)
    attach: Any = attach_command.callback

    def edit(number: int) -> None:
        at = {"config": None, "endpoint": None, "profile": "owner"}
        if number % 2:
            at = {"config": proxy.config_path, "endpoint": None, "profile": None}
        attach(group=f"many-{number}", configuration="test", position=0, **at)

    with ThreadPoolExecutor(EDITORS) as pool:
        list(pool.map(edit, range(EDITORS)))
    order = json.loads(run("priorities", "--json", *place))["groups"]
    assert sorted(order) == sorted(group["ProxyRuleGroupName"] for group in groups)


def test_where_no_proxy_listens_the_store_is_opened_and_that_is_said(proxy: ProxyProcess, home: Path) -> None:
    """The same checks and the same record; what comes then is what was done."""
    place = ("--config", str(proxy.config_path))
    away = proxy.config_path.with_name("away.yaml")
    away.write_text(yaml.safe_dump({**proxy.config, "admin": {"socket": str(home / "none.sock")}}))
    file = written(home, rules("team-c", "direct"))
    result = CliRunner().invoke(netfw, ["apply", file, "--yes", "--config", str(away)])
    assert result.exit_code == 0, result.output
    assert "no proxy listens on" in result.output and "is opened directly" in result.output
    (record,) = [one for one in audited(proxy) if one["from"].startswith("command")]
    assert (record["operation"], record["outcome"]) == ("ApplyPolicy", "done")
    assert "team-c" in run("groups", *place)
    wait_until(lambda: allows(proxy, "direct.test"))
