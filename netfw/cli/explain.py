"""`netfw explain`: what the rules say to a request, step by step."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.config_option import json_option
from netfw.cli.policy_option import find_policy, policy_options
from netfw.cli.screen import print_json, screen
from netfw.policy.decision import Decision
from netfw.policy.explain import Explanation, RuleState, RuleStep, explain_request
from netfw.policy.facts import ABSENT, NOT_YET
from netfw.policy.imagined_request import ImaginedRequest, RequestProblem, parse_address, parse_header, parse_url
from netfw.policy.model import Action
from netfw.policy.values import ValueProblem, parse_date

_GIVEN_BY = {"request:DestinationIp": "--destination-ip", "request:SourcePort": "--source-port"}
_STYLES = {Action.ALLOW: "green", Action.DENY: "red", Action.ALERT: "yellow"}


@click.command("explain")
@click.argument("url")
@click.option("--method", "-X", default=None, help="GET; CONNECT for a bare host:port.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header; repeatable.")
@click.option("--source-ip", default="127.0.0.1", show_default=True, help="The client's address.")
@click.option("--source-port", type=click.IntRange(1, 65535), metavar="PORT", help="The client's TCP port.")
@click.option("--destination-ip", default=None, help="The address that would be dialled. Nothing is looked up.")
@click.option("--sni", default=None, help="The server name in the ClientHello; the host's name by default.")
@click.option("--status", type=click.IntRange(100, 999), default=None, help="The response's status: asks PostRESPONSE.")
@click.option("--response-header", "response_headers", multiple=True, metavar="'NAME: VALUE'", help="Repeatable.")
@click.option("--intercepted/--opaque", default=None, help="Whether TLS is opened; by default as configured.")
@click.option("--time", "moment", default=None, help="When, such as 2026-01-31T16:05:00Z; now by default.")
@click.option("--identity", default=None, help="Who the client proved to be.")
@click.option("--listener", default=None, help="The listener that it came to.")
@click.option("--vpc", default=None, help="The client's network.")
@click.option("--vpce", default=None, help="The client's endpoint.")
@click.option("--account", default=None, help="The client's account.")
@click.option("--all", "show_all", is_flag=True, help="Show every rule, also those that are far from matching.")
@policy_options
@json_option
def explain_command(url: str, **options: Any) -> None:
    """Tell what the rules say to a request, phase by phase.

    URL is http://..., https://... or host:port. Nothing is sent and nothing is looked up.

    \b
    netfw explain https://github.com/o/r.git/git-receive-pack -X POST
    netfw explain https://example.com/ --destination-ip 192.0.2.1 --status 200 \\
                  --response-header 'Content-Type: text/html'

    Exit status 0: allowed. 1: denied, or not certain without facts that were not given. 2: wrong usage.
    """
    try:
        request = _request(url, options)
    except (RequestProblem, ValueProblem) as problem:
        raise click.UsageError(str(problem)) from None
    found = find_policy(options["config"], options["policy"])
    request = found.as_known(request)
    intercepted = options["intercepted"]
    if intercepted is None:
        intercepted = found.intercepts_request(request)
    explanations = explain_request(found.policy, request, intercepted)
    outcome = explanations[-1].outcome
    if options["as_json"]:
        print_json(
            {
                "url": url,
                "method": request.method,
                "intercepted": intercepted and request.scheme == "https",
                "outcome": outcome,
                "phases": [explanation.as_data() for explanation in explanations],
            }
        )
    else:
        _print(request, explanations, intercepted, show_all=options["show_all"])
    sys.exit(0 if outcome == "allow" else 1)


def _request(url: str, options: dict[str, Any]) -> ImaginedRequest:
    method = options["method"] or "GET"
    scheme, authority, target, tunnel = parse_url(method, url)
    if tunnel and options["method"] not in (None, "CONNECT"):
        raise RequestProblem(f"{url} is a CONNECT: write https://{url}/... for a {method} inside the tunnel")
    if options["response_headers"] and options["status"] is None:
        options["status"] = 200
    return ImaginedRequest(
        method="CONNECT" if tunnel else method,
        scheme=scheme,
        authority=authority,
        target=target,
        tunnel=tunnel,
        headers=[parse_header(line) for line in options["headers"]],
        source_ip=parse_address(options["source_ip"]),
        source_port=options["source_port"] or NOT_YET,
        destination_ip=parse_address(options["destination_ip"]) if options["destination_ip"] else NOT_YET,
        sni=options["sni"] or (None if authority.host.is_address else authority.host.text),
        status=options["status"],
        response_headers=[parse_header(line) for line in options["response_headers"]],
        time=time.time() if options["moment"] is None else float(parse_date(options["moment"])),
        client_identity=options["identity"] or ABSENT,
        listener_name=options["listener"] or ABSENT,
        source_vpc=options["vpc"] or ABSENT,
        source_vpce=options["vpce"] or ABSENT,
        source_account=options["account"] or ABSENT,
    )


def _print(request: ImaginedRequest, explanations: list[Explanation], intercepted: bool, *, show_all: bool) -> None:
    console = screen()
    console.print(Text(f"{request.method} {request.url} from {request.source_ip}: {request.seen(intercepted)}"))
    for explanation in explanations:
        console.print()
        _print_result(explanation, request)
        table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
        for _ in range(4):
            table.add_column(overflow="fold")
        shown = [step for step in explanation.steps if show_all or _worth_showing(step, explanation)]
        for step in shown:
            table.add_row(
                Text(str(step.rule)), Text(step.action.value, _STYLES[step.action]), step.state.value, Text(step.why)
            )
        if shown:
            console.print(table)
        if explanation.nearest is not None:
            nearest = explanation.nearest
            console.print(Text(f"  nearest: {nearest.rule} would {nearest.action.value}, but {nearest.why}"))
        hidden = [step for step in explanation.steps if not _worth_showing(step, explanation)]
        if explanation.nearest is not None:
            hidden.remove(explanation.nearest)
        if hidden and not show_all:
            console.print(f"  not shown (--all does): {_counted(hidden)}")
    if explanations[-1].phase.order < 2 and explanations[-1].outcome == "allow":
        why = "the response is never visible" if request.scheme == "https" and not intercepted else "no --status given"
        console.print(f"\nPostRESPONSE is not asked: {why}")


def _worth_showing(step: RuleStep, explanation: Explanation) -> bool:
    """Whether the rule is far from matching is asked of its conditions; the nearest has a line of its own."""
    if step.state is RuleState.NOT_MATCHED:
        return step is not explanation.nearest and any(condition.result != "false" for condition in step.conditions)
    return step.state is not RuleState.NOT_REACHED


def _counted(hidden: list[RuleStep]) -> str:
    """How many rules do not match, and how many the phase did not come to."""
    unreached = sum(step.state is RuleState.NOT_REACHED for step in hidden)
    counts = (
        (len(hidden) - unreached, "rule that does not match", "rules that do not match"),
        (unreached, "rule that is not reached", "rules that are not reached"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts if count)


def _waited_for(explanation: Explanation, request: ImaginedRequest) -> str:
    """What the first open rule wants to know, and how to say it."""
    step = next(step for step in explanation.steps if step.state is RuleState.WAITING)
    key = next(condition.key for condition in step.conditions if condition.result == "not yet known")
    if key in _GIVEN_BY:
        return f"{key}: give it with {_GIVEN_BY[key]}"
    if request.tunnel and key.startswith("request:Http:"):
        return f"{key}: explain https://{request.authority}/... for a request inside the tunnel"
    return f"{key}, which is not yet known"


def _print_result(explanation: Explanation, request: ImaginedRequest) -> None:
    result = explanation.result
    text = Text(f"{explanation.phase.value}: ", "bold")
    if isinstance(result, Decision):
        text.append(result.action.value, _STYLES[result.action])
        text.append(f" by {result.rule}" + (f": {result.reason}" if result.reason else ""))
        alerts = [str(match.rule) for match in result.matches if match.action is Action.ALERT]
        if alerts:
            text.append(f"; alerts: {', '.join(alerts)}")
    else:
        text.append("not certain yet", "yellow")
        text.append(f": {result.pending} waits for {_waited_for(explanation, request)}")
    screen().print(text)
