"""The responses that the proxy makes itself, and how they explain themselves.

A denial is 403 whose reason phrase names rule and id (half of all clients show nothing else of it), with
`Proxy-Status` (RFC 9209), `X-Netfw-Id` and a body as text or as problem+json (RFC 9457) by `Accept`. No text that a
client or an origin chose comes back in it but the canonical host name. `deny.style: aws` gives the bytes of the
vendor's preview instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus

from netfw.config.model import DenyStyle
from netfw.errors import (
    Denied,
    DestinationProhibited,
    NetfwError,
    OriginCertificateInvalid,
    ProxyAuthenticationRequired,
)
from netfw.policy.decision import Decision
from netfw.policy.model import Phase
from netfw.proxy.exchange import Exchange

_NOT_PHRASE = re.compile(r"[^ -~]")
_PHRASE_LENGTH = 100
_JSON_TYPES = (b"application/json", b"application/problem+json")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response of ours. `fields` without Content-Length, Date and Connection: printing adds these."""

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def print(self, *, now: float, close: bool, with_body: bool, http10_keep: bool = False) -> bytes:
        """The bytes on the wire. `with_body` False answers HEAD: the length without the body."""
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        lines += [f"Date: {formatdate(now, usegmt=True)}", f"Content-Length: {len(self.body)}"]
        if close:
            lines.append("Connection: close")
        elif http10_keep:
            lines.append("Connection: keep-alive")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii", "replace")
        return head + self.body if with_body else head


class Explainer:
    """Makes the answer to an exchange that failed."""

    def __init__(self, *, style: DenyStyle, help_url: str | None, pseudonym: str, now: Callable[[], float]) -> None:
        self._style = style
        self._help_url = help_url
        self._pseudonym = pseudonym
        self._now = now

    def answer(self, exchange: Exchange, error: NetfwError) -> Answer:
        """The answer for this exchange; sets nothing on it."""
        made = self._answer(exchange, error)
        if isinstance(error, ProxyAuthenticationRequired):
            # Whatever the style: without it no client would say who it is.
            return replace(made, fields=(*made.fields, ("Proxy-Authenticate", error.challenge)))
        return made

    def _answer(self, exchange: Exchange, error: NetfwError) -> Answer:
        if self._style is DenyStyle.AWS:
            return self._vendor_answer(error)
        decision = error.decision if isinstance(error, Denied) and isinstance(error.decision, Decision) else None
        fields = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
            ("Proxy-Status", self._proxy_status(exchange, error, decision)),
            ("X-Netfw-Id", exchange.id),
        ]
        if error.retry_after is not None:
            fields.append(("Retry-After", str(error.retry_after)))
        if _wants_json(exchange):
            fields[0] = ("Content-Type", "application/problem+json")
            body = self._problem(exchange, error, decision)
        else:
            body = self._text(exchange, error, decision)
        return Answer(error.status, self._reason(exchange, error, decision), tuple(fields), body)

    def print(self, exchange: Exchange, error: NetfwError, *, close: bool, with_body: bool) -> bytes:
        """The whole answer as bytes.

        The vendor's form has no Connection field even where the connection is closed behind it.
        """
        answer = self.answer(exchange, error)
        if self._style is DenyStyle.AWS:
            return _print_vendor(answer, self._now(), with_body)
        return answer.print(
            now=self._now(), close=close, with_body=with_body, http10_keep=exchange.http_version == "1.0"
        )

    def _reason(self, exchange: Exchange, error: NetfwError, decision: Decision | None) -> str:
        if decision is not None:
            text = f"Blocked by netfw {decision.rule} [{exchange.id}]"
        elif isinstance(error, DestinationProhibited):
            text = f"Blocked by netfw guard [{exchange.id}]"
        else:
            text = f"{_standard_phrase(error.status)} ({error.token}) [{exchange.id}]"
        return _NOT_PHRASE.sub("?", text)[:_PHRASE_LENGTH]

    def _proxy_status(self, exchange: Exchange, error: NetfwError, decision: Decision | None) -> str:
        token = error.token
        extra = ""
        if decision is not None and decision.phase is Phase.POST_RESPONSE:
            # RFC 9209 has no token for a response that policy held back.
            token, extra = "proxy_internal_response", "; netfw-denied=PostRESPONSE"
        if decision is not None:
            details = f"{decision.phase.value} {decision.rule} id={exchange.id}"
        else:
            details = f"{error.message} id={exchange.id}"
        details = _NOT_PHRASE.sub("?", details).replace("\\", "\\\\").replace('"', '\\"')
        return f'{self._pseudonym}; error={token}{extra}; details="{details}"'

    def _text(self, exchange: Exchange, error: NetfwError, decision: Decision | None) -> bytes:
        denied = error.fault == "policy" or error.status == 403
        lines = ["Blocked by policy." if denied else f"{_standard_phrase(error.status)}: {error.message}.", ""]
        if exchange.authority is not None:
            lines.append(f"host    {exchange.authority}")
        if decision is not None:
            lines += [f"phase   {decision.phase.value}", f"rule    {decision.rule}"]
            if decision.reason:
                lines.append(f"why     {decision.reason}")
        elif denied:
            lines.append(f"why     {error.message}")
        lines += [f"error   {error.token}", f"id      {exchange.id}", *_certificate_lines(error), ""]
        if denied:
            lines.append("This was blocked on purpose: trying again does not help.")
            lines.append("Whoever runs this proxy finds the reason by the id above.")
            if self._help_url:
                lines.append(self._help_url.replace("{id}", exchange.id))
            lines.append("")
        return "\n".join(lines).encode("utf-8")

    def _problem(self, exchange: Exchange, error: NetfwError, decision: Decision | None) -> bytes:
        denied = error.fault == "policy" or error.status == 403
        problem: dict[str, object] = {
            "type": "about:blank",
            "title": "Blocked by policy" if denied else _standard_phrase(error.status),
            "status": error.status,
            "detail": error.message,
            "error": error.token,
            "id": exchange.id,
            "retry": not denied and error.status in (429, 502, 503, 504),
        }
        if exchange.authority is not None:
            problem["host"] = exchange.authority.host.text
            problem["port"] = exchange.authority.port
        if isinstance(error, OriginCertificateInvalid):
            problem["certificate"] = dict(error.facts)
        if decision is not None:
            problem["phase"] = decision.phase.value
            problem["rule"] = str(decision.rule)
        if denied and self._help_url:
            problem["help"] = self._help_url.replace("{id}", exchange.id)
        return json.dumps(problem, separators=(",", ":")).encode("ascii") + b"\n"

    def _vendor_answer(self, error: NetfwError) -> Answer:
        phrase = _standard_phrase(error.status)
        fields = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
        return Answer(error.status, phrase, fields, phrase.encode() + b"\n")


def _certificate_lines(error: NetfwError) -> list[str]:
    """What is wrong with the origin's certificate, so that its owner can be told: dates, fingerprint, host names."""
    if not isinstance(error, OriginCertificateInvalid):
        return []
    facts = error.facts
    whose = " (of an issuer's)" if facts.get("depth", "0") != "0" else ""
    lines = ["", f"problem {facts.get('problem', 'invalid')}{whose}"]
    if "not_before" in facts:
        lines.append(f"valid   {facts['not_before']} to {facts['not_after']}")
    if "names" in facts:
        lines.append(f"names   {facts['names']}")
    if "sha256" in facts:
        lines.append(f"sha256  {facts['sha256']}")
    return [*lines, "", "Nothing was sent to the host. Whoever runs it has to mend this."]


def _print_vendor(answer: Answer, now: float, with_body: bool) -> bytes:
    """The preview's field order: Content-Type, X-Content-Type-Options, Date, Content-Length."""
    return answer.print(now=now, close=False, with_body=with_body)


def _standard_phrase(status: int) -> str:
    if status == HTTPStatus.LOOP_DETECTED:
        return "Loop Detected"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _wants_json(exchange: Exchange) -> bool:
    if exchange.head is None:
        return False
    return any(wanted in line.lower() for line in exchange.head.fields.get_all(b"accept") for wanted in _JSON_TYPES)
