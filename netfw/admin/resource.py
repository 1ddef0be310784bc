"""The admin surface's answers: `/healthz`, `/readyz`, `/metrics`, `/status`, `POST /reload`, and what is added to them.

Who may ask: whoever can open the Unix socket (its mode is the credential; what changes something takes an operator
besides), and on loopback TCP anybody of this machine, for reading only. A browser may not: a Host that is not loopback
is DNS rebinding (RFC 9110, 7.2), an Origin or a cross-site Sec-Fetch-Site is another page's script. Not here: sockets
(`server`), what the status says (`status`), and the control API, which is handed in and asks everybody for a signature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger, LogLevel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from netfw.admin.operator import operator_of
from netfw.admin.status import State
from netfw.telemetry.event_names import ADMIN_FAILED, ADMIN_REFUSED, ADMIN_RELOAD
from netfw.telemetry.log import tell
from netfw.telemetry.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from netfw.admin.status import StatusSource
    from netfw.telemetry.metrics import Metrics

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
_READING = (b"GET", b"HEAD")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?")
_LOCAL_NAMES = frozenset([b"localhost", b"localhost."])

REASON_LIMIT = 200

Answer = tuple[int, str, bytes]
# On or off, who wants it, and why. A Deferred of `{"ok": bool, ...}`.
Switch = Callable[[bool, dict[str, Any], str], "Deferred[dict[str, Any]]"]


def is_local_host(field_value: bytes) -> bool:
    """Does a Host field value name this machine: `localhost` or a loopback address, with or without a port?"""
    match = _HOST.fullmatch(field_value)
    if match is None:
        return False
    name = match[1].lower()
    if name in _LOCAL_NAMES:
        return True
    try:
        return ip_address(name.strip(b"[]").decode("ascii")).is_loopback
    except ValueError:
        return False


def _json(status: int, value: Any) -> Answer:
    return status, JSON, json.dumps(value, default=str).encode("ascii") + b"\n"


def _text(status: int, words: str) -> Answer:
    return status, TEXT, words.encode("ascii") + b"\n"


class AdminResource(Resource):
    """All paths in one table; nothing of a request is ever repeated in an answer.

    `reload()` returns a Deferred of `{"ok": bool, "generation": int, "problems": [str]}`. It runs once at a time, and
    to its end also when whoever asked has gone.
    """

    isLeaf = True

    def __init__(
        self,
        status_source: StatusSource,
        reload: Callable[[], Deferred[dict[str, Any]]],
        metrics: Metrics,
        control: Any = None,
    ) -> None:
        super().__init__()
        self._status_source = status_source
        self._reload = reload
        self._metrics = metrics
        self._control = control
        self._running: set[str] = set()
        self._log = Logger()
        self._paths: dict[bytes, tuple[tuple[bytes, ...], Callable[[Request], Answer | None]]] = {
            b"/healthz": (_READING, self._healthz),
            b"/livez": (_READING, self._healthz),
            b"/readyz": (_READING, self._readyz),
            b"/metrics": (_READING, self._show_metrics),
            b"/status": (_READING, self._show_status),
            b"/reload": ((b"POST",), self._post_reload),
        }

    def add_page(self, path: bytes, value: Callable[[], Any]) -> None:
        """One more page to read, for operators: on the Unix socket only. `value` gives it, or a Deferred of it."""
        self._paths[path] = (_READING, partial(self._show_to_operators, value))

    def add_switch(self, path: bytes, switch: Switch) -> None:
        """POST to PATH/on and PATH/off, on the Unix socket only."""
        for word, on in ((b"/on", True), (b"/off", False)):
            self._paths[path + word] = ((b"POST",), partial(self._post_switch, switch, on))

    def render(self, request: Request) -> bytes | int:
        """Answer, or say why not."""
        if self._control is not None and (request.path == b"/" or request.path.startswith(b"/service/")):
            # The control API proves who asks by itself, from wherever it is.
            called: bytes | int = self._control.render(request)
            return called
        refusal = self._refusal(request)
        if refusal is not None:
            tell(self._log, ADMIN_REFUSED, level=LogLevel.warn, path=request.path, reason=refusal[2].strip())
            return self._finish(request, refusal)
        known = self._paths.get(request.path)
        if known is None:
            return self._finish(request, _text(404, "no such page"))
        methods, page = known
        if request.method not in methods:
            request.setHeader(b"allow", b", ".join(methods))
            return self._finish(request, _text(405, "method not allowed"))
        try:
            answer = page(request)
        except Exception as error:
            self._failed(request, error)
            answer = _text(500, "internal error")
        if answer is None:
            return NOT_DONE_YET
        return self._finish(request, answer)

    def _refusal(self, request: Request) -> Answer | None:
        over_socket = isinstance(request.getHost(), UNIXAddress)
        if not over_socket and not ip_address(request.getClientAddress().host).is_loopback:
            return _text(403, "only the control API is served to other machines")
        fields = request.requestHeaders
        hosts = fields.getRawHeaders(b"host") or []
        if len(hosts) > 1 or (not hosts and not over_socket):
            return _text(400, "one Host field is needed")
        if hosts and not is_local_host(hosts[0].strip(b" \t")):
            return _text(421, "this Host is not served here")
        if fields.hasHeader(b"origin") or fields.getRawHeaders(b"sec-fetch-site", [b"none"])[0] not in (
            b"none",
            b"same-origin",
        ):
            return _text(403, "not for other pages")
        return None

    def _finish(self, request: Request, answer: Answer) -> bytes:
        status, content_type, body = answer
        request.setResponseCode(status)
        fields = request.responseHeaders
        fields.removeHeader(b"server")
        fields.setRawHeaders(b"content-type", [content_type.encode("ascii")])
        fields.setRawHeaders(b"content-length", [b"%d" % len(body)])
        fields.setRawHeaders(b"x-content-type-options", [b"nosniff"])
        fields.setRawHeaders(b"cache-control", [b"no-store"])
        fields.setRawHeaders(b"cross-origin-resource-policy", [b"same-origin"])
        return b"" if request.method == b"HEAD" else body

    def _failed(self, request: Request, error: BaseException | None) -> None:
        tell(self._log, ADMIN_FAILED, level=LogLevel.error, path=request.path, error=f"{type(error).__name__}: {error}")

    def _state(self) -> str:
        return str(self._status_source.status().get("state"))

    def _healthz(self, _request: Request) -> Answer:
        if self._state() == State.DRAINING.value:
            return _text(503, State.DRAINING.value)
        return _text(200, "ok")

    def _readyz(self, _request: Request) -> Answer:
        status = self._status_source.status()
        state, checks = status.get("state"), status.get("checks", [])
        if state in (State.STARTING.value, State.DRAINING.value):
            code, word = 503, str(state)
        elif state == State.READY.value and all(row["ok"] for row in checks):
            code, word = 200, "ready"
        else:
            code, word = 503, "not ready"
        lines = [f"{row['check']}: {'ok' if row['ok'] else 'FAILED'}, {_one_line(row['says'])}" for row in checks]
        return _text(code, "\n".join([word, *lines]))

    def _show_metrics(self, _request: Request) -> Answer:
        return 200, CONTENT_TYPE, self._metrics.render()

    def _show_status(self, _request: Request) -> Answer:
        return _json(200, self._status_source.status())

    def _show_to_operators(self, value: Callable[[], Any], request: Request) -> Answer | None:
        refusal = _for_operators(request, "this page")
        if refusal is not None:
            return refusal
        answer = self._answer_later(request)
        shown = maybeDeferred(value).addCallback(lambda found: _json(200, found))
        shown.addErrback(self._not_shown, request).addCallback(answer)
        return None

    def _not_shown(self, failure: Failure, request: Request) -> Answer:
        self._failed(request, failure.value)
        return _text(500, "internal error")

    def _answer_later(self, request: Request) -> Callable[[Answer], None]:
        """What finishes the request with an answer, unless whoever asked has gone."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def answer(value: Answer) -> None:
            if not gone:
                body = self._finish(request, value)
                request.write(body)
                request.finish()

        return answer

    def _post_reload(self, request: Request) -> Answer | None:
        def done(result: dict[str, Any]) -> None:
            ok = result["ok"]
            tell(
                self._log,
                ADMIN_RELOAD,
                level=LogLevel.info if ok else LogLevel.error,
                ok=ok,
                generation=result.get("generation"),
                problems=len(result.get("problems") or ()),
            )

        return self._command(request, "reload", lambda: self._reload(), done)

    def _post_switch(self, switch: Switch, on: bool, request: Request) -> Answer | None:
        def turn() -> Deferred[dict[str, Any]]:
            return switch(on, operator_of(request), _reason(request))

        return self._command(request, "switch", turn, lambda _result: None)

    def _command(
        self,
        request: Request,
        name: str,
        run: Callable[[], Deferred[dict[str, Any]]],
        done: Callable[[dict[str, Any]], object],
    ) -> Answer | None:
        """Do something, once at a time, and answer with how it ended."""
        refusal = _for_operators(request, name)
        if refusal is not None:
            return refusal
        no_right = None if self._control is None else self._control.operator_refusal(request)
        if no_right is not None:
            return _json(403, {"ok": False, "problems": [no_right]})
        if name in self._running:
            return _json(409, {"ok": False, "problems": [f"a {name} is running already"]})
        self._running.add(name)
        finish = self._answer_later(request)

        def answer(value: Answer) -> None:
            self._running.discard(name)
            finish(value)

        def ended(result: dict[str, Any]) -> Answer:
            ok = result.get("ok") is True
            result = {**result, "ok": ok}
            done(result)
            return _json(200 if ok else 409, result)

        def failed(failure: Failure) -> Answer:
            self._failed(request, failure.value)
            return _json(500, {"ok": False, "problems": [f"the {name} failed; the log says why"]})

        maybeDeferred(run).addCallback(ended).addErrback(failed).addCallback(answer).addErrback(
            lambda failure: self._failed(request, failure.value)
        )
        return None


def _for_operators(request: Request, what: str) -> Answer | None:
    """A port is open to every user of the machine; the socket's mode says who is an operator."""
    if isinstance(request.getHost(), UNIXAddress):
        return None
    return _json(403, {"ok": False, "problems": [f"{what} is served on the Unix socket only"]})


def _one_line(text: object) -> str:
    return "".join(character if " " <= character <= "~" else "?" for character in str(text))


def _reason(request: Request) -> str:
    """What the operator says of it, if it is a short text; anything else is left out of the record."""
    try:
        document = json.loads(request.content.read() or b"{}")
    except ValueError:
        return ""
    reason = document.get("reason") if isinstance(document, dict) else None
    return reason if isinstance(reason, str) and reason.isprintable() and len(reason) <= REASON_LIMIT else ""
