"""What the manhole's commands do: each asks the parts that `assembly` hands in.

Not here: who may run what, and how it is printed (`admin.manhole_commands`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool

from netfw.admin.manhole_commands import CommandError, Run, printed
from netfw.admin.operator_keys import Operator
from netfw.config.model import Configuration
from netfw.policy.decision import Open
from netfw.policy.explain import RuleState, explain_request
from netfw.policy.imagined_request import ImaginedRequest, RequestProblem, parse_address, parse_url
from netfw.policy.model import Action, Phase, PolicyConfiguration
from netfw.proxy.interception_scope import InterceptionScope
from netfw.proxy.sources import as_known
from netfw.service.record_answers import RecordAnswers
from netfw.service.record_file import NoRecordFile
from netfw.telemetry.decrypted_fields import NOTE, is_decrypted, veiled
from netfw.telemetry.denial_report import Report
from netfw.telemetry.record_index import canonical_id

_MOST = 200
Show = Callable[[str], None]


class ManholeOperations:
    """`settings` and `scope`: those in force, which reloads replace. `gather` asks workers before the status is shown,
    `connections` gives rows, `replace` replaces one worker: it is None where there are none. `answers` are about
    records; `audit_reading` hears of everybody who is shown what only decryption shows: who, by what, of what.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        configuration: Configuration,
        policies: Any,
        settings: Callable[[], Configuration],
        scope: Callable[[], InterceptionScope],
        status: Callable[[], Mapping[str, Any]],
        gather: Callable[[], Any],
        connections: Callable[[int], Any],
        reload: Callable[[], Deferred[dict[str, Any]]],
        replace: Callable[[int], Deferred[bool]] | None,
        answers: RecordAnswers,
        audit_reading: Callable[[Operator, str, dict[str, str]], object],
    ) -> None:
        self._reactor = reactor
        self._configuration = configuration
        self._policies = policies
        self._settings = settings
        self._scope = scope
        self._status_source = status
        self._gather = gather
        self._rows = connections
        self._reload_policy = reload
        self._replace = replace
        self._answers = answers
        self._records = answers.file
        self._audit_reading = audit_reading

    def table(self, operator: Operator) -> dict[str, Run]:
        """Command to what runs it, for this operator."""
        return {
            "status": self._status,
            "connections": self._connections,
            "top": self._top,
            "explain": self._explain,
            "why": partial(self._why, operator),
            "trace": partial(self._trace, operator),
            "policy": self._policy,
            "reload": self._reload,
            "drain": self._drain,
        }

    def _status(self, _: Sequence[str], _show: Show) -> Any:
        return maybeDeferred(self._gather).addCallback(lambda _: self._status_source())

    def _connections(self, arguments: Sequence[str], _show: Show) -> Any:
        return self._rows(_number(arguments[0], "most", 10_000) if arguments else _MOST)

    def _top(self, _: Sequence[str], _show: Show) -> Any:
        return _records(self._records.busiest)

    def _why(self, operator: Operator, arguments: Sequence[str], _show: Show) -> Any:
        exchange_id = canonical_id(arguments[0])
        if exchange_id is None:
            raise CommandError(f"{arguments[0]!r} is no id: it looks like 7F3KQ-92XAB, as the client saw it")

        def told(found: tuple[Report | None, tuple[str, ...]]) -> str:
            explained, notes = found
            if explained is None:
                return "\n".join([f"no record has the id {exchange_id}", *notes])
            if operator.decrypted and is_decrypted(explained.record):
                self._audit_reading(operator, "manhole why", {"id": exchange_id})
            return "\n".join(explained.lines())

        return _records(self._answers.explained, exchange_id, operator.decrypted).addCallback(told)

    def _trace(self, operator: Operator, arguments: Sequence[str], show: Show) -> Any:
        try:
            client = str(ip_address(arguments[0]))
        except ValueError:
            raise CommandError(f"{arguments[0]!r} is not an IP address") from None
        if operator.decrypted:
            self._audit_reading(operator, "manhole trace", {"client": client})
        show(f"exchanges of {client} as they end; Ctrl-C stops")
        if not operator.decrypted:
            show(NOTE)
        return _records(
            self._records.follow,
            lambda record: record.get("client_src_ip") == client,
            lambda record: show(_traced(record if operator.decrypted else veiled(record))),
        )

    def _policy(self, _: Sequence[str], _show: Show) -> Any:
        current = self._policies.current
        policy: PolicyConfiguration = current.configuration
        return {
            "name": policy.name,
            "generation": current.generation,
            "loaded at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._policies.loaded_at)),
            "phases": [
                {
                    "phase": phase.value,
                    "rules": sum(len(group.rules[phase]) for group in policy.groups),
                    "default": policy.defaults[phase].value,
                }
                for phase in Phase
            ],
            "groups, in the order of evaluation": [
                {"group": group.name, **{phase.value: len(group.rules[phase]) for phase in Phase}}
                for group in policy.groups
            ],
        }

    def _reload(self, _: Sequence[str], _show: Show) -> Any:
        return self._reload_policy()

    def _drain(self, arguments: Sequence[str], _show: Show) -> Any:
        if self._replace is None:
            raise CommandError("this proxy has no workers: it drains when it is stopped")
        number = _number(arguments[0], "worker", self._configuration.workers)

        def told(replaced: bool) -> str:
            if not replaced:
                raise CommandError(
                    f"worker {number} was not replaced: its successor does not serve, or others are being replaced; "
                    "the log says which"
                )
            return f"worker {number} drains, another one serves"

        return self._replace(number).addCallback(told)

    def _explain(self, arguments: Sequence[str], _show: Show) -> Any:
        url, method, client, *_ = *arguments, *("GET", "127.0.0.1")[len(arguments) - 1 :]
        try:
            scheme, authority, target, tunnel = parse_url(method.upper(), url)
            imagined = ImaginedRequest(
                method="CONNECT" if tunnel else method.upper(),
                scheme=scheme,
                authority=authority,
                target=target,
                tunnel=tunnel,
                source_ip=parse_address(client),
                sni=None if authority.host.is_address else authority.host.text,
                time=time.time(),
            )
        except RequestProblem as problem:
            raise CommandError(str(problem)) from None
        request = as_known(imagined, self._settings().sources)
        intercepted = self._scope().intercepts(authority, request.source_ip)
        pool = self._reactor.getThreadPool()
        # A hundred thousand rules take a second: not the reactor's.
        policy = self._policies.current.configuration
        return deferToThreadPool(self._reactor, pool, _explained, policy, request, intercepted)


def _explained(policy: PolicyConfiguration, request: ImaginedRequest, intercepted: bool) -> str:
    target = "" if request.tunnel else request.target.decode("ascii")
    lines = [f"{request.method} {request.authority}{target} from {request.source_ip}: {request.seen(intercepted)}"]
    for told in explain_request(policy, request, intercepted):
        result, phase = told.result, told.phase.value
        if isinstance(result, Open):
            lines.append(f"{phase}: not certain yet: {result.pending} waits for what is not yet known")
        else:
            reason = f": {result.reason}" if result.reason else ""
            lines.append(f"{phase}: {result.action.value} by {result.rule}{reason}")
        alerts = [step for step in told.steps if step.state is RuleState.MATCHED and step.action is Action.ALERT]
        lines += [f"  ALERT by {step.rule}" for step in alerts[:20]]
        if told.nearest is not None:
            lines.append(f"  nearest: {told.nearest.rule} would {told.nearest.action.value}, but {told.nearest.why}")
    return "\n".join(printed(line) for line in lines)


def _traced(record: Mapping[str, Any]) -> str:
    url = record.get("url")
    where = f"{url.get('authority')}{url.get('path')}" if isinstance(url, Mapping) else record.get("dest_ip")
    rule = record.get("final_rule_name")
    words = [record.get(name) for name in ("id", "final_action", "http_method")]
    words += [where, record.get("http_status_code"), f"by {rule}" if rule else None]
    return printed(" ".join(str(word) for word in words if word))


def _number(text: str, name: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise CommandError(f"{text!r} is no {name}: write a number from 1 to {most}")
    return int(text)


def _records(ask: Callable[..., Deferred[Any]], *arguments: Any) -> Deferred[Any]:
    try:
        return ask(*arguments)
    except NoRecordFile as error:
        raise CommandError(str(error)) from None
