"""`netfw check`."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from netfw.cli.main import netfw


def check(*arguments: object) -> Result:
    """Run `netfw check` with these arguments."""
    return CliRunner().invoke(netfw, ["check", *map(str, arguments)])


def test_what_is_in_order_is_summed_up(config: Path) -> None:
    """Status 0, and what a start would use."""
    CliRunner().invoke(netfw, ["ca", "init", "--config", str(config)])
    for result in (check(config), check("--config", config)):
        assert result.exit_code == 0, result.output
        assert "127.0.0.1 port 3128" in result.output
        assert "PreDNS DENY" in result.output
    document = json.loads(check(config, "--json").stdout)
    assert (document["ok"], document["problems"]) == (True, [])
    assert document["summary"]["configuration"] == str(config)


def test_every_problem_is_printed(config: Path) -> None:
    """Status 1; one a line with file, line, path, value and fix; nothing on standard output for people."""
    (config.parent / "policy.yaml").unlink()
    result = check(config)
    assert result.exit_code == 1
    assert f"{config}:2: tls_intercept.ca.certificate: " in result.output
    assert "netfw ca init" in result.output
    assert f"{config}:3: policy.file: {config.parent}/policy.yaml does not exist" in result.output


def test_problems_are_data_for_programs(config: Path) -> None:
    """With --json, on standard output."""
    with open(config, "a") as file:
        file.write("workers: many\n")
    result = check(config, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ok"] is False
    (problem,) = document["problems"]
    assert (problem["source"], problem["line"], problem["path"]) == (str(config), 5, "workers")


def test_markup_in_a_configuration_is_shown_as_it_is(config: Path) -> None:
    """Brackets are no styles."""
    CliRunner().invoke(netfw, ["ca", "init", "--config", str(config)])
    renamed = config.with_name("[red]proxy[0].yaml")
    config.rename(renamed)
    assert "[red]proxy[0].yaml" in check(renamed).output


def test_what_is_in_certificates_and_lists_is_read_too(config: Path) -> None:
    """A users file or roots that a start would refuse are told with their names."""
    (config.parent / "users").write_text("alice:{SHA}x\n")
    (config.parent / "roots.pem").write_text("nothing")
    config.write_text(
        "listeners: [{name: a, address: 127.0.0.1, port: 3128, users: users}]\n"
        "policy: {file: policy.yaml}\nupstream: {trust: roots.pem}\n"
    )
    result = check(config)
    assert result.exit_code == 1
    assert f"{config.parent}/users: line 1: the hash of 'alice' is made with MD5 or SHA-1" in result.output
    assert f"{config.parent}/roots.pem: there is no PEM certificate in it" in result.output


def test_the_way_out_is_summed_up_with_rules_that_it_leaves_undecided(config: Path) -> None:
    """Parents, pools, and rules on an address that only a parent will know."""
    CliRunner().invoke(netfw, ["ca", "init", "--config", str(config)])
    with open(config, "a") as file:
        file.write(
            "upstream:\n"
            "  proxies:\n    - {name: above, url: 'https://proxy.example.com:3129'}\n"
            "    - {name: spare, url: 'http://192.0.2.1:3128'}\n"
            "  routes: [{proxies: above, by: name}]\n"
            "egress: {pools: [{name: shown, addresses: [127.0.0.1]}]}\n"
        )
    (config.parent / "policy.yaml").write_text(
        "ProxyConfiguration:\n"
        "  ProxyConfigurationName: test\n"
        "  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: ALLOW, PostRESPONSE: ALLOW}\n"
        "  RuleGroups: [g]\n"
        "ProxyRuleGroups:\n"
        "  - ProxyRuleGroupName: g\n"
        "    Rules:\n"
        "      PreREQUEST:\n"
        "        - ProxyRuleName: there\n"
        "          Action: DENY\n"
        "          Conditions: [{ConditionKey: 'request:DestinationIp', ConditionOperator: IpAddress,\n"
        "            ConditionValues: [192.0.2.0/24]}]\n"
    )
    result = check(config, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)["summary"]
    assert summary["parent proxy above"] == "https://proxy.example.com:3129"
    assert summary["parent proxy spare"].endswith("used by no route")
    assert summary["egress pool shown"] == "127.0.0.1 (spread)"
    assert "g/there" in summary["by name"] and "denial" in summary["by name"]


def test_a_source_address_that_is_elsewhere(config: Path) -> None:
    """Told before anything is started."""
    CliRunner().invoke(netfw, ["ca", "init", "--config", str(config)])
    with open(config, "a") as file:
        file.write("egress: {pools: [{name: shown, addresses: [198.51.100.7]}]}\n")
    result = check(config)
    assert result.exit_code == 1
    assert "egress.pools[0].addresses[0]: this machine does not have 198.51.100.7" in result.output
