"""The API at `/` of the admin listener: who asks, what for, done in a transaction, answered, audited.

Here a request becomes a call and its result an answer; nothing is decided here. Large bodies are read on a thread, the
call itself runs on the database's. Not here: sockets, TLS and the other paths (`admin`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from netfw.control.audit import audit_line, subject
from netfw.control.identity import Identity
from netfw.control.json_protocol import (
    BODY_LIMIT,
    CONTENT_TYPE,
    GENERATION_FIELD,
    operation_of,
    print_output,
    print_refusal,
    read_input,
)
from netfw.control.operations.call import Input, Site
from netfw.control.performing import Performed, perform_and_print, refusal_of
from netfw.control.refusals import InternalFailure, InvalidRequest, Malformed, Refusal, UnsupportedOperation
from netfw.control.roles import Caller, Role, check_right
from netfw.control.service_model import Operation
from netfw.control.service_model import Resource as Kind
from netfw.interfaces import IRecordSink, IStore
from netfw.store.errors import StoreError
from netfw.telemetry.event_names import CONTROL_DONE, CONTROL_FAILED, CONTROL_REFUSED
from netfw.telemetry.log import tell

UNKNOWN_BODY_LIMIT = 256 * 1024
_READ_AT_ONCE = 64 * 1024


class ControlResource(Resource):
    """`POST /` is a call; anything else here is not.

    `store` runs the calls; `audit` gets a line for every change that was asked for, and for every reading of what only
    decryption shows; `records` answers what is asked of records (`answer`); `changed` is called with each new
    generation.
    """

    isLeaf = True

    def __init__(
        self,
        *,
        reactor: Any,
        now: Callable[[], float],
        store: IStore,
        site: Callable[[], Site],
        identity: Identity,
        audit: IRecordSink,
        records: Any = None,
        changed: Callable[[int], object] = lambda _generation: None,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._now = now
        self._store = store
        self._site = site
        self._identity = identity
        self._audit = audit
        self._records = records
        self._changed = changed
        self._log = Logger()

    def content_limit(self, fields: Any, local: bool) -> int:
        """How long a body with these fields may be; whoever is not known need not say much."""
        authorization = (fields.getRawHeaders(b"authorization") or [b""])[0]
        return BODY_LIMIT if local or self._identity.is_known(authorization) else UNKNOWN_BODY_LIMIT

    def operator_refusal(self, request: Request) -> str | None:
        """Why whoever asks over the Unix socket may not operate this process, reload it, say; None: they may."""
        caller = self._identity.local_caller(request)
        if caller.roles & {Role.OPERATOR, Role.OWNER}:
            return None
        return f"{caller.name} may not do this: it takes an operator, by control.local in proxy.yaml"

    def render(self, request: Request) -> int | bytes:
        """Answer, at once or later."""
        request.responseHeaders.removeHeader(b"server")
        if request.path != b"/":
            # CBOR clients read nothing of a 404 but its status.
            request.setResponseCode(404)
            return b""
        if request.method != b"POST":
            request.setResponseCode(405)
            request.setHeader(b"allow", b"POST")
            return b""
        request_id = str(uuid4())
        request.setHeader(b"x-amzn-requestid", request_id.encode("ascii"))
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        answered = maybeDeferred(self._call, request, request_id).addErrback(self._refused, request)
        answered.addCallback(lambda body: None if gone else self._finish(request, body))
        answered.addErrback(lambda failure: self._failed(failure, request))
        return NOT_DONE_YET

    def _call(self, request: Request, request_id: str) -> Deferred[bytes]:
        request.content.seek(0)
        body = request.content.read()
        caller = self._identity.caller(request, body)
        operation = operation_of(_single(request, b"x-amz-target"))
        content_type = _single(request, b"content-type").partition(";")[0].strip().lower()
        if content_type != CONTENT_TYPE:
            raise Malformed(f"Content-Type is {CONTENT_TYPE}")
        if b"?" in request.uri:
            raise InvalidRequest("a call has no query")
        if len(body) <= _READ_AT_ONCE:
            read = maybeDeferred(read_input, operation, body)
        else:
            read = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), read_input, operation, body)
        return read.addCallback(lambda given: self._run(request, operation, given, caller, request_id))

    def _run(
        self, request: Request, operation: Operation, given: Input, caller: Caller, request_id: str
    ) -> Deferred[bytes]:
        if operation.resource is Kind.RECORDS:
            return self._read_records(operation, given, caller, request_id)
        run = self._store.transact if operation.writes else self._store.read
        done: Deferred[Any] = run(perform_and_print, operation, given, caller, self._site())

        def tell_done(result: tuple[Performed, bytes]) -> bytes:
            performed, body = result
            self._record(operation, given, caller, request_id, "done", performed)
            if performed.generation is not None:
                request.setHeader(GENERATION_FIELD.encode("ascii"), b"%d" % performed.generation)
                self._changed(performed.generation)
            return body

        def tell_refused(failure: Failure) -> Failure:
            code = failure.value.code if isinstance(failure.value, Refusal) else InternalFailure.code
            self._record(operation, given, caller, request_id, code, None)
            return failure

        return done.addCallbacks(tell_done, tell_refused)

    def _read_records(
        self, operation: Operation, given: Input, caller: Caller, request_id: str
    ) -> Deferred[bytes]:
        check_right(caller, operation.name, False, operation.resource, None)
        if self._records is None:
            raise UnsupportedOperation("records cannot be read here")

        def tell_done(found: tuple[dict[str, Any], bool]) -> bytes:
            output, shows_decrypted = found
            if shows_decrypted:
                # Before it is shown, as with everything that is on record.
                self._record(operation, given, caller, request_id, "done", None, reading=True)
            return print_output(operation, output)

        answered: Deferred[Any] = self._records.answer(operation.name, given, caller.decrypted)
        return answered.addCallback(tell_done)

    def _record(
        self,
        operation: Operation,
        given: Mapping[str, Any],
        caller: Caller,
        request_id: str,
        outcome: str,
        performed: Performed | None,
        *,
        reading: bool = False,
    ) -> None:
        if not operation.writes and not reading:
            return
        line = audit_line(
            now=self._now(),
            request_id=request_id,
            caller=caller,
            operation=operation.name,
            about=subject(operation, given),
            outcome=outcome,
            changes=performed.changes if performed is not None else (),
            generation=performed.generation if performed is not None else None,
        )
        self._audit.write(line)
        tell(self._log, CONTROL_DONE, operation=operation.name, who=caller.name, outcome=outcome, id=request_id)

    def _refused(self, failure: Failure, request: Request) -> bytes:
        error = failure.value
        if isinstance(error, StoreError):
            error = refusal_of(error)
        if not isinstance(error, Refusal):
            self._log.failure("an API call failed", failure=failure)
            error = InternalFailure("internal error; the proxy's log says why")
        elif error.status >= 500:
            cause = failure.value if error is not failure.value else error.__cause__
            tell(self._log, CONTROL_FAILED, level=LogLevel.error, error=error.message, cause=cause)
        else:
            tell(self._log, CONTROL_REFUSED, code=error.code, message=error.message)
        request.setResponseCode(error.status)
        request.setHeader(b"x-amzn-errortype", error.code.encode("ascii"))
        return print_refusal(error)

    def _finish(self, request: Request, body: bytes) -> None:
        request.setHeader(b"content-type", CONTENT_TYPE.encode("ascii"))
        request.setHeader(b"content-length", b"%d" % len(body))
        request.setHeader(b"cache-control", b"no-store")
        request.write(body)
        request.finish()

    def _failed(self, failure: Failure, request: Request) -> None:
        self._log.failure("an API call could not be answered", failure=failure)
        request.loseConnection()


def _single(request: Request, name: bytes) -> str:
    values = request.requestHeaders.getRawHeaders(name) or []
    return values[0].decode("ascii", "replace") if len(values) == 1 else ""
