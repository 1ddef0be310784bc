"""`netfw test`: expectations of the policy, written beside it and run against it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from netfw.cli.config_option import json_option
from netfw.cli.policy_option import FoundPolicy, find_policy, policy_options
from netfw.cli.screen import print_json
from netfw.config.document import read_document
from netfw.config.errors import ConfigErrors, Problem
from netfw.policy.compile import CompiledPolicy, compile_policy
from netfw.policy.decision import Decision, Match, Open
from netfw.policy.evaluate import evaluate
from netfw.policy.facts import ABSENT, NOT_YET
from netfw.policy.imagined_request import ImaginedRequest, RequestProblem, parse_address, parse_header, parse_url
from netfw.policy.model import Action, Phase
from netfw.policy.values import ValueProblem, parse_date

_AS = {
    "ip": "source_ip",
    "port": "source_port",
    "identity": "client_identity",
    "listener": "listener_name",
    "vpc": "source_vpc",
    "vpce": "source_vpce",
    "account": "source_account",
}
_SETTINGS = ("as", "headers", "destination_ip", "sni", "status", "response_headers", "intercepted", "time")
_OUTCOMES = ("allow", "deny", "open")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One request and what is to become of it. `rule` and `phase` None: any."""

    path: str
    title: str
    request: ImaginedRequest
    intercepted: bool | None
    outcome: str
    rule: str | None
    phase: str | None
    alerts: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Got:
    """What became of it."""

    outcome: str
    phase: Phase
    rule: str
    passed: tuple[tuple[str, Phase], ...]
    alerts: tuple[str, ...]

    def __str__(self) -> str:
        alerts = f", alerts {', '.join(self.alerts)}" if self.alerts else ""
        return f"{self.outcome} by {self.rule} in {self.phase.value}{alerts}"


@click.command("test")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@policy_options
@json_option
def test_command(files: tuple[Path, ...], config: Path | None, policy: Path | None, as_json: bool) -> None:
    """Run the tests that are written beside the rules.

    \b
    FILE is a YAML list of requests and what is to become of them:
      - GET https://example.com/: allow
      - CONNECT www.facebook.com:443: {deny: house-rules/no-social-network, phase: PreDNS}
      - as: {ip: 10.9.0.4, identity: ci}
        headers: {User-Agent: curl/8}
        POST https://example.com/: {allow: true, alerts: [house-rules/watch-curl]}

    Also understood beside a request: destination_ip, sni, status, response_headers, intercepted (true or false), time;
    of a client (as): ip, port, identity, listener, vpc, vpce, account. A request is allowed when every phase that it
    goes through allows it; PostRESPONSE is asked where a status is given.

    Exit status 0: all as expected. 1: not so, or a file with mistakes.
    """
    found = find_policy(config, policy)
    expectations = [expectation for file in files for expectation in read_expectations(file)]
    compiled = compile_policy(found.policy, 0, 0.0)
    results = [(one, run_expectation(one, compiled, found)) for one in expectations]
    failed = [(one, got) for one, got in results if not meets(one, got)]
    rules = {"default", *(f"{group.name}/{rule.name}" for phase in Phase for group, rule in found.policy.rules(phase))}
    if as_json:
        print_json({"passed": len(results) - len(failed), "failed": [_as_data(one, got) for one, got in failed]})
    else:
        for one, got in failed:
            click.echo(click.style("FAILED ", fg="red") + f"{one.title}\n  expected {_wanted(one)}\n  got      {got}")
            for rule in sorted({one.rule or "default", *(one.alerts or ())} - rules):
                click.echo(f"  there is no rule {rule} in the policy")
        click.echo(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


def run_expectation(one: Expectation, compiled: CompiledPolicy, found: FoundPolicy) -> Got:
    """Take the request through its phases until one denies it or stays open."""
    request = found.as_known(one.request)
    intercepted = found.intercepts_request(request) if one.intercepted is None else one.intercepted
    passed: list[tuple[str, Phase]] = []
    alerts: list[Match] = []
    got: Got | None = None
    for phase, facts in request.phases(intercepted):
        result = evaluate(compiled, phase, facts)
        if isinstance(result, Decision):
            alerts += [match for match in result.matches if match.action is Action.ALERT]
        rule = str(result.pending if isinstance(result, Open) else result.rule)
        passed.append((rule, phase))
        outcome = "open" if isinstance(result, Open) else "allow" if result.allowed else "deny"
        got = Got(outcome, phase, rule, tuple(passed), tuple(str(match.rule) for match in alerts))
        if outcome != "allow":
            break
    assert got is not None
    return got


def meets(one: Expectation, got: Got) -> bool:
    """Whether what became of a request is what was expected."""
    if one.outcome != got.outcome or (one.alerts is not None and set(one.alerts) != set(got.alerts)):
        return False
    # An allowed request was decided once a phase; a denied one by the rule that ended it.
    decided = got.passed if one.outcome == "allow" else ((got.rule, got.phase),)
    return any(
        one.rule in (None, rule) and (one.phase is None or one.phase.lower() == phase.value.lower())
        for rule, phase in decided
    )


def read_expectations(file: Path) -> list[Expectation]:
    """The expectations of a file. Raises ConfigErrors with every mistake in it."""
    document = read_document(file)
    problems: list[Problem] = []
    found: list[Expectation] = []
    if not isinstance(document, list) or not document:
        what = "is not a list of requests" if document else "holds no request; write - GET https://example.com/: allow"
        raise ConfigErrors([Problem("", what, source=str(file))])
    for index, item in enumerate(document):
        path = f"[{index}]"
        if not isinstance(item, Mapping):
            problems.append(Problem(path, "is not a mapping of a request to what is expected", source=str(file)))
            continue
        requests = [name for name in item if name not in _SETTINGS]
        if not requests:
            problems.append(Problem(path, "names no request, such as GET https://example.com/", source=str(file)))
        for name in requests:
            try:
                found.append(_read_expectation(path, name, item))
            except (RequestProblem, ValueProblem) as problem:
                problems.append(Problem(f"{path}.{name}", str(problem), source=str(file)))
    if problems:
        raise ConfigErrors(problems)
    return found


def _read_expectation(path: str, name: str, item: Mapping[str, Any]) -> Expectation:
    method, _, url = name.partition(" ")
    scheme, authority, target, tunnel = parse_url(method, url.strip())
    caller = _mapping(item.get("as", {}), "as")
    unknown = [key for key in caller if key not in _AS]
    if unknown:
        raise RequestProblem(f"as: {unknown[0]!r} is not one of {', '.join(_AS)}")
    status, intercepted = item.get("status"), item.get("intercepted")
    if status is not None and (isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 999):
        raise RequestProblem("status is a number from 100 to 999")
    if intercepted is not None and not isinstance(intercepted, bool):
        raise RequestProblem("intercepted is true or false")
    response_headers = list(_headers(item.get("response_headers", {}), "response_headers"))
    port = caller.get("port", NOT_YET)
    if port is not NOT_YET and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= 65535):
        raise RequestProblem("as: port is a number from 1 to 65535")
    if "sni" in item and not isinstance(item["sni"], str):
        raise RequestProblem("sni is the name in the ClientHello")
    who = {_AS[key]: str(value) for key, value in caller.items() if key not in ("ip", "port")}
    request = ImaginedRequest(
        method=method,
        scheme=scheme,
        authority=authority,
        target=target,
        tunnel=tunnel,
        headers=list(_headers(item.get("headers", {}), "headers")),
        source_ip=parse_address(str(caller.get("ip", "127.0.0.1"))),
        source_port=port,
        destination_ip=parse_address(str(item["destination_ip"])) if "destination_ip" in item else NOT_YET,
        sni=str(item["sni"]) if "sni" in item else None if authority.host.is_address else authority.host.text,
        status=200 if response_headers and status is None else status,
        response_headers=response_headers,
        time=float(parse_date(str(item["time"]))) if "time" in item else time.time(),
        source_account=who.get("source_account", ABSENT),
        source_vpc=who.get("source_vpc", ABSENT),
        source_vpce=who.get("source_vpce", ABSENT),
        listener_name=who.get("listener_name", ABSENT),
        client_identity=who.get("client_identity", ABSENT),
    )
    return Expectation(path, name, request, intercepted, *_read_outcome(item[name]))


def _read_outcome(raw: object) -> tuple[str, str | None, str | None, tuple[str, ...] | None]:
    if isinstance(raw, str) and raw in _OUTCOMES:
        return raw, None, None, None
    members = _mapping(raw, "what is expected (allow, deny or open, or a mapping)")
    outcomes = [outcome for outcome in _OUTCOMES if outcome in members]
    unknown = [key for key in members if key not in (*_OUTCOMES, "phase", "alerts")]
    if unknown:
        raise RequestProblem(f"{unknown[0]!r} is none of {', '.join(_OUTCOMES)}, phase and alerts")
    if len(outcomes) != 1:
        raise RequestProblem("write one of allow, deny and open with a rule or true, and phase and alerts where wanted")
    rule, phase, alerts = members[outcomes[0]], members.get("phase"), members.get("alerts")
    if rule is not True and not isinstance(rule, str):
        raise RequestProblem(f"{outcomes[0]}: write the rule as group/name or default, or true for any")
    if phase is not None and phase not in [one.value for one in Phase]:
        raise RequestProblem(f"phase is one of {', '.join(one.value for one in Phase)}")
    if alerts is not None and not (isinstance(alerts, list) and all(isinstance(one, str) for one in alerts)):
        raise RequestProblem("alerts is a list of rules")
    return outcomes[0], None if rule is True else rule, phase, None if alerts is None else tuple(alerts)


def _mapping(raw: object, what: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise RequestProblem(f"{what} is not a mapping")
    return raw


def _headers(raw: object, what: str) -> Iterator[tuple[bytes, bytes]]:
    for name, value in _mapping(raw, what).items():
        for one in value if isinstance(value, list) else [value]:
            yield parse_header(f"{name}: {one}")


def _wanted(one: Expectation) -> str:
    rule = f" by {one.rule}" if one.rule else ""
    phase = f" in {one.phase}" if one.phase else ""
    alerts = f", alerts {', '.join(one.alerts) or 'none'}" if one.alerts is not None else ""
    return f"{one.outcome}{rule}{phase}{alerts}"


def _as_data(one: Expectation, got: Got) -> dict[str, object]:
    return {"request": one.title, "place": one.path, "expected": _wanted(one), "got": str(got)}
