"""`netfw explain`, `netfw lint`, `netfw show` and `netfw test`, on a policy of their own and through proxy.yaml."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netfw.cli.main import main, netfw
from netfw.testing.pki import TestAuthority

POLICY = """\
ProxyConfiguration:
  ProxyConfigurationName: test
  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: DENY, PostRESPONSE: ALLOW}
  RuleGroups: [house, sites]
ProxyRuleGroups:
  - ProxyRuleGroupName: house
    Rules:
      PreREQUEST:
        - ProxyRuleName: watch
          Action: ALERT
          Conditions:
            - {ConditionKey: 'request:Http:UserAgent', ConditionOperator: StringLike, ConditionValues: [curl/*]}
        - ProxyRuleName: closed-net
          Action: DENY
          Description: closed
          NotAfter: 2100-01-01
          Owner: me
          Conditions:
            - {ConditionKey: 'request:DestinationIp', ConditionOperator: IpAddress, ConditionValues: [192.0.2.0/24]}
      PostRESPONSE:
        - ProxyRuleName: no-zip
          Action: DENY
          Conditions:
            - ConditionKey: response:Http:ContentType
              ConditionOperator: StringEquals
              ConditionValues: [application/zip]
  - ProxyRuleGroupName: sites
    allow: [.example.com, 'GET,HEAD https://example.org/docs/*']
"""
CONFIGURATION = """\
listeners: [{name: main, type: HTTP, address: 127.0.0.1, port: 3128}]
tls_intercept: {mode: DISABLED}
policy: {file: policy.yaml}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """policy.yaml, with a proxy.yaml beside it that does not intercept."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "proxy.yaml").write_text(CONFIGURATION)
    return tmp_path / "policy.yaml"


def run(verb: str, policy: Path, *arguments: str, config: bool = False) -> Result:
    """Run a verb with `--policy`, or with `--config`."""
    place = ["--config", str(policy.parent / "proxy.yaml")] if config else ["--policy", str(policy)]
    return CliRunner().invoke(netfw, [verb, *place, *arguments])


def outcome(policy: Path, *arguments: str, config: bool = False) -> tuple[int, str, str]:
    """Exit status, outcome, and the rule of the last phase, of `netfw explain --json`."""
    result = run("explain", policy, "--json", *arguments, config=config)
    document = json.loads(result.stdout)
    last = document["phases"][-1]["result"]
    return result.exit_code, document["outcome"], last.get("rule") or last["pending"]


IP = ("--destination-ip", "198.51.100.7")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("https://www.example.com/", *IP), (0, "allow", "sites/allow-1-request")),
        (("http://www.example.com/", *IP), (0, "allow", "sites/allow-1-request")),
        (("www.example.com:22", *IP), (0, "allow", "sites/allow-1-request")),
        (("https://www.example.com/", "--destination-ip", "192.0.2.9"), (1, "deny", "house/closed-net")),
        (("https://www.example.com/",), (1, "open", "house/closed-net")),
        (("https://example.org/docs/a", *IP), (0, "allow", "sites/allow-2-request")),
        (("https://example.org/docs/a?x=1", "-X", "HEAD", *IP), (0, "allow", "sites/allow-2-request")),
        (("https://example.org/docs/a", "-X", "POST", *IP), (1, "deny", "default")),
        (("https://example.org/docs/../x", *IP), (1, "deny", "default")),
        (("https://example.org/docs/a", "--opaque", *IP), (1, "deny", "default")),
        (("example.org:443", *IP), (1, "open", "sites/allow-2-request")),
        (("https://example.net/",), (1, "deny", "default")),
        (("https://example.com/", "--status", "404", *IP), (0, "allow", "default")),
        (
            ("https://example.com/", "--response-header", "Content-Type: application/zip", *IP),
            (1, "deny", "house/no-zip"),
        ),
        (("https://example.com/", "--opaque", "--status", "200", *IP), (0, "allow", "sites/allow-1-request")),
        (
            ("https://www.example.com/", "--destination-ip", "192.0.2.9", "--time", "2100-01-01"),
            (0, "allow", "sites/allow-1-request"),
        ),
    ],
)
def test_explain_outcomes(policy: Path, arguments: tuple[str, ...], expected: tuple[int, str, str]) -> None:
    """Allowed is status 0; denied, or open for want of facts, is 1. The rule is the one that decides."""
    assert outcome(policy, *arguments) == expected


def test_explain_knows_what_is_intercepted(policy: Path) -> None:
    """With a configuration, interception and bypass are those of the configuration."""
    arguments = ("https://example.org/docs/a", *IP)
    assert outcome(policy, *arguments, config=True) == (1, "deny", "default")
    assert outcome(policy, *arguments, "--intercepted", config=True)[0] == 0


@pytest.mark.parametrize(
    ("url", "client", "seen"),
    [
        ("https://www.only.test/", "10.1.0.1", "TLS, intercepted"),
        ("https://other.test/", "10.1.0.1", "TLS, passed through"),
        ("https://www.only.test:8443/", "10.1.0.1", "TLS, passed through"),
        ("https://pinned.only.test/", "10.1.0.1", "TLS, passed through"),
        ("https://x.only.test/", "10.1.0.1", "TLS, passed through"),
        ("https://x.only.test/", "10.2.0.1", "TLS, intercepted"),
        ("http://other.test/", "10.1.0.1", "plain HTTP"),
    ],
)
def test_explain_and_test_intercept_what_the_proxy_would(policy: Path, url: str, client: str, seen: str) -> None:
    """By `only` and `bypass`, port and client included."""
    scope = (
        "{mode: ENABLED, ca: {certificate: ca.pem, private_key: ca.key}, only: [{domain: .only.test, port: 443}],\n"
        "  bypass: [pinned.only.test, {domain: x.only.test, source: 10.1.0.0/16}]}"
    )
    pair = TestAuthority(common_name="CA")
    (policy.parent / "ca.pem").write_bytes(pair.certificate_pem)
    (policy.parent / "ca.key").write_bytes(pair.key_pem)
    (policy.parent / "ca.key").chmod(0o600)
    text = CONFIGURATION.replace("{mode: DISABLED}", scope)
    (policy.parent / "proxy.yaml").write_text(text)
    told = run("explain", policy, url, "--source-ip", client, config=True).output
    assert told.splitlines()[0].endswith(seen), told


def test_explain_knows_the_client_as_the_proxy_would(policy: Path) -> None:
    """From the table of sources; what is said on the command line counts before it."""
    sources = "sources: [{cidr: 10.1.0.0/16, vpc: vpc-a}, {cidr: 10.0.0.0/8, identity: guest}]\n"
    (policy.parent / "proxy.yaml").write_text(CONFIGURATION + sources)
    policy.write_text(
        POLICY.replace(
            "    allow: [",
            "    Rules:\n      PreDNS:\n        - {ProxyRuleName: a, Action: DENY, Conditions: [{ConditionKey: "
            "'request:SourceVpc', ConditionOperator: StringEquals, ConditionValues: [vpc-a]}]}\n    allow: [",
        )
    )
    url = "https://www.example.com/"
    assert outcome(policy, url, *IP, "--source-ip", "10.1.0.1", config=True) == (1, "deny", "sites/a")
    assert outcome(policy, url, *IP, "--source-ip", "10.1.0.1", "--vpc", "vpc-b", config=True)[1] == "allow"
    assert outcome(policy, url, *IP, "--source-ip", "10.2.0.1", config=True)[1] == "allow"


def test_explain_for_people(policy: Path) -> None:
    """Decisions with alerts and reasons, why rules do not match, and the nearest miss."""
    told = run("explain", policy, "https://exampel.com/").output
    assert "PreDNS: DENY by default" in told
    assert told.startswith("GET https://exampel.com/ from 127.0.0.1: TLS, intercepted\n")
    assert told.count("sites/allow-1") == 1
    assert "nearest: sites/allow-1 would ALLOW, but request:DestinationDomain is exampel.com" in told
    told = run("explain", policy, "https://a.example.com/", "-H", "User-Agent: curl/8", *IP).output
    assert "PreREQUEST: ALLOW by sites/allow-1-request; alerts: house/watch" in told
    assert "PostRESPONSE is not asked: no --status given" in told
    assert "not shown (--all does): 1 rule that does not match, 1 rule that is not reached" in told
    told = run("explain", policy, "http://a.example.com/", "-H", "User-Agent: curl/8", "--all", *IP).output
    assert "not shown" not in told
    told = run("explain", policy, "https://a.example.com/", "--all", "--destination-ip", "192.0.2.1").output
    assert "PreREQUEST: DENY by house/closed-net: closed" in told
    assert "not reached" in told
    told = run("explain", policy, "https://a.example.com/").output
    assert (
        "not certain yet: house/closed-net waits for request:DestinationIp: give it with --destination-ip"
        in " ".join(told.split())
    )


def test_explain_knows_the_port_only_if_it_is_told(policy: Path) -> None:
    """A rule on request:SourcePort is open without one; `netfw test` takes it of the client."""
    policy.write_text(
        POLICY.replace(
            "    allow: [",
            "    Rules:\n      PreDNS:\n        - {ProxyRuleName: low, Action: DENY, Conditions: [{ConditionKey: "
            "'request:SourcePort', ConditionOperator: NumericLessThan, ConditionValues: ['1024']}]}\n    allow: [",
        )
    )
    url = "https://a.example.com/"
    assert outcome(policy, url, *IP) == (1, "open", "sites/low")
    told = " ".join(run("explain", policy, url).output.split())
    assert "sites/low waits for request:SourcePort: give it with --source-port" in told
    assert outcome(policy, url, *IP, "--source-port", "1023") == (1, "deny", "sites/low")
    assert outcome(policy, url, *IP, "--source-port", "1024")[1] == "allow"
    file = policy.parent / "tests.yaml"
    file.write_text(
        f"- GET {url}: {{deny: sites/low}}\n  as: {{port: 1023}}\n- GET {url}: allow\n  as: {{port: 1024}}\n"
        "  destination_ip: 198.51.100.7\n"
    )
    result = run("test", policy, str(file))
    assert (result.exit_code, result.output) == (0, "2 passed, 0 failed\n")


def test_long_values_are_shown_cut(policy: Path) -> None:
    """What a rule wants is told in a line or two, however long it is; JSON has all of it."""
    long = "x" * 100_000
    policy.write_text(POLICY.replace("[curl/*]", f"['{long}*']"))
    for verb, arguments in (("explain", ("https://a.example.com/", "--all", *IP)), ("show", ())):
        told = run(verb, policy, *arguments).output
        assert "x" * 150 in told.replace("\n", "").replace(" ", "")
        assert len(told) < 10_000
    assert long in run("show", policy, "--json").output


def test_explain_says_how_to_ask_for_what_is_inside_a_tunnel(tmp_path: Path) -> None:
    """A rule on HTTP waits for the requests inside; they are explained by their URL, not by a method beside a host."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "ProxyConfiguration:\n"
        "  ProxyConfigurationName: p\n"
        "  DefaultRulePhaseActions: {PreDNS: ALLOW, PreREQUEST: ALLOW, PostRESPONSE: ALLOW}\n"
        "  RuleGroups: [g]\n"
        "ProxyRuleGroups: [{ProxyRuleGroupName: g, deny: [POST a.example]}]\n"
    )
    told = " ".join(run("explain", policy, "a.example:443").output.split())
    assert "waits for request:Http:Method: explain https://a.example:443/... for a request inside the tunnel" in told
    refused = run("explain", policy, "a.example:443", "-X", "POST")
    assert refused.exit_code == 2
    assert "a.example:443 is a CONNECT: write https://a.example:443/... for a POST inside the tunnel" in " ".join(
        refused.output.split()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("ftp://example.com/",),
        ("https://exa mple.com/",),
        ("https://example.com:0/",),
        ("https://example.com/", "-H", "no colon"),
        ("https://example.com/", "--source-ip", "nobody"),
        ("https://example.com/", "--time", "soon"),
        ("https://example.com/a", "-X", "CONNECT"),
        ("https://example.com/", "-X", "G T"),
        ("https://example.com/\u00fc",),
        ("https://example.com/", "--source-port", "70000"),
        ("https://example.com/", "--config", "proxy.yaml"),
    ],
)
def test_explain_wrong_usage(policy: Path, arguments: tuple[str, ...]) -> None:
    """Status 2 and one line that says what is wrong."""
    result = run("explain", policy, *arguments)
    assert result.exit_code == 2, result.output
    assert "Error: " in result.output


def test_lint(policy: Path) -> None:
    """No warning is status 0; with interception off, denials by HTTP fields are warned about."""
    result = run("lint", policy)
    assert (result.exit_code, result.output) == (0, "no warnings\n")
    result = run("lint", policy, config=True)
    assert result.exit_code == 1
    assert "house/no-zip" in result.output
    assert "1 warning" in result.output
    document = json.loads(run("lint", policy, "--json", config=True).stdout)
    (warning,) = document["warnings"]
    assert (warning["code"], warning["rule"], warning["phase"]) == (
        "needs-interception",
        "house/no-zip",
        "PostRESPONSE",
    )


def test_lint_with_more_public_suffixes(policy: Path) -> None:
    """A file of names widens the warning about what anybody can have a name below."""
    more = policy.parent / "suffixes"
    more.write_text("# ours\nexample.com\n")
    result = run("lint", policy, "--public-suffixes", str(more))
    assert result.exit_code == 1
    assert "allows every name below example.com" in result.output


@pytest.mark.parametrize(
    ("end", "shown"), [("999999999999", "until 999999999999"), ("2100-01-01T10:00:00.5Z", "until 2100-01-01T10:00:00")]
)
def test_any_end_can_be_shown(policy: Path, end: str, shown: str) -> None:
    """Also one behind the last year that a calendar has."""
    policy.write_text(POLICY.replace("2100-01-01", end))
    result = run("show", policy)
    assert result.exit_code == 0, result.output
    assert shown in result.output


def test_show(policy: Path) -> None:
    """One list a phase in the order of evaluation, short forms written out, the default last."""
    told = run("show", policy).output
    for text in (
        "sites/allow-2-request",
        "request:Http:Method StringEquals GET, HEAD",
        "until 2100-01-01T00:00:00Z",
        "owner me",
        "# closed",
    ):
        assert text in told
    document = json.loads(run("show", policy, "--json", "--phase", "prerequest", config=True).stdout)
    assert list(document["phases"]) == ["PreREQUEST"]
    shown = document["phases"]["PreREQUEST"]
    assert [rule["rule"] for rule in shown["rules"]] == [
        "house/watch",
        "house/closed-net",
        "sites/allow-1-request",
        "sites/allow-2-request",
    ]
    assert shown["default"] == "DENY"


TESTS = """\
- GET https://a.example.com/: allow
  destination_ip: 198.51.100.7
- as: {ip: 10.9.0.4, identity: ci}
  headers: {User-Agent: [curl/8]}
  destination_ip: 198.51.100.7
  GET https://example.com/: {allow: sites/allow-1-request, phase: PreREQUEST, alerts: [house/watch]}
  GET https://example.org/docs/x: {allow: true, alerts: [house/watch]}
  POST https://example.org/docs/x: {deny: default, phase: PreREQUEST}
- CONNECT example.net:443: {deny: default, phase: PreDNS}
- CONNECT a.example.com:443: open
- GET https://a.example.com/: {deny: house/no-zip}
  destination_ip: 198.51.100.7
  response_headers: {Content-Type: application/zip}
- GET https://a.example.com/: {deny: house/closed-net, alerts: []}
  destination_ip: 192.0.2.7
- GET https://a.example.com/: allow
  destination_ip: 192.0.2.7
  time: 2100-01-01
"""


def test_tests_pass_and_fail(policy: Path) -> None:
    """All as expected is status 0; what is not is shown with what came instead."""
    file = policy.parent / "tests.yaml"
    file.write_text(TESTS)
    result = run("test", policy, str(file))
    assert (result.exit_code, result.output) == (0, "9 passed, 0 failed\n")
    file.write_text(
        "- GET https://example.net/: {allow: true, alerts: [house/watch]}\n- GET http://example.net/: deny\n"
    )
    result = run("test", policy, str(file))
    assert result.exit_code == 1
    assert "expected allow, alerts house/watch" in result.output
    assert "got      deny by default in PreDNS" in result.output
    assert "1 passed, 1 failed" in result.output
    document = json.loads(run("test", policy, "--json", str(file), config=True).stdout)
    assert (document["passed"], document["failed"][0]["request"]) == (1, "GET https://example.net/")


def test_a_rule_that_is_not_there_is_told(policy: Path) -> None:
    """An expectation that names no rule of the policy is a slip of the pen more often than a difference."""
    file = policy.parent / "tests.yaml"
    file.write_text("- GET https://example.net/: {deny: house/closed-nett, alerts: [default, sites/x]}\n")
    result = run("test", policy, str(file))
    assert result.exit_code == 1
    for rule in ("house/closed-nett", "sites/x"):
        assert f"there is no rule {rule} in the policy" in result.output
    assert "no rule default" not in result.output


@pytest.mark.parametrize("text", ["[]\n", "\n", "# nothing\n"])
def test_a_file_without_tests_has_not_passed(policy: Path, text: str) -> None:
    """Nothing was tried: status 1."""
    file = policy.parent / "tests.yaml"
    file.write_text(text)
    result = run("test", policy, str(file))
    assert result.exit_code == 1
    assert "holds no request" in str(result.exception)


def test_mistakes_in_tests_are_all_told(
    policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1, one a line, with the place."""
    file = policy.parent / "tests.yaml"
    file.write_text(
        "- GET ftp://x/: allow\n- as: {ip: x}\n  GET https://x.example/: allow\n- nothing\n- status: 3\n"
        "- GET https://x.example/: maybe\n- GET https://x.example/: {deny: 3}\n"
        "- GET https://x.example/: {phase: PreDNS}\n"
        "- GET https://x.example/: {allow: true, phase: predns2}\n- GET https://x.example/: allow\n  as: {ipp: x}\n"
        "- GET https://x.example/: allow\n  as: {port: 0}\n- GET https://x.example/: allow\n  sni: [x]\n"
    )
    monkeypatch.setattr("sys.argv", ["netfw", "test", "--policy", str(policy), str(file)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    told = capsys.readouterr().err
    for text in (
        "[0].GET ftp://x/: ftp://x/: the scheme is http or https",
        "[1].GET https://x.example/: 'x' is not an IP address",
        "[2]: is not a mapping",
        "[3]: names no request",
        "[4].GET https://x.example/: what is expected (allow, deny or open, or a mapping) is not a mapping",
        "[5].GET https://x.example/: deny: write the rule",
        "[6].GET https://x.example/: write one of allow",
        "[7].GET https://x.example/: phase is one of",
        "[8].GET https://x.example/: as: 'ipp' is not one of",
        "[9].GET https://x.example/: as: port is a number from 1 to 65535",
        "[10].GET https://x.example/: sni is the name in the ClientHello",
        "11 problems:",
    ):
        assert text in told


def test_example_tests_of_the_example_policy() -> None:
    """etc/policy-tests.yaml holds for etc/policy.yaml."""
    etc = Path(__file__).parents[2] / "etc"
    result = CliRunner().invoke(netfw, ["test", "--policy", str(etc / "policy.yaml"), str(etc / "policy-tests.yaml")])
    assert result.exit_code == 0, result.output
