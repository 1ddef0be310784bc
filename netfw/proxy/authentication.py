"""Who asks: a password by `Proxy-Authorization` (RFC 9110, section 11.7; Basic: RFC 7617), where a listener wants one.

In this room: the gate of one listener, and an exchange that waits at it while a password is hashed. 407 means "say who
you are" and never anything else: what rules deny is 403. Not here: the check itself (`passwords`), certificates
(`listener`). Credentials are read here and nowhere else; what goes on has none (`http1.forwarding`), and none is
recorded.

Every request outside of a tunnel says who asks; inside a tunnel it is who asked for the tunnel.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.errors import ClientGone, MalformedRequest, NetfwError, ProxyAuthenticationRequired
from netfw.http1.fields import Fields
from netfw.http1.heads import RequestHead
from netfw.proxy.exchange import Exchange
from netfw.proxy.passwords import Passwords

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection

_log = Logger()
_FIELD = b"proxy-authorization"


class Gate:
    """One listener's."""

    def __init__(self, realm: str, passwords: Passwords) -> None:
        self.passwords = passwords
        self.call_it(realm)

    def call_it(self, realm: str) -> None:
        """What people are told from now on that it is for."""
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'

    def pass_through(self, client: ClientConnection, exchange: Exchange, go_on: Callable[[], None]) -> None:
        """Call `go_on` once it is known who asks: now, or later. Raises ProxyAuthenticationRequired and its like."""
        caller = client.caller
        if caller.is_proven:
            go_on()
            return
        assert exchange.head is not None
        caller.identity = None
        name, password = self._credentials(exchange.head)
        found = self.passwords.check(caller.address, name, password)

        def decide(is_right: bool) -> None:
            if not is_right:
                raise self._refusal("the user name or the password is wrong")
            caller.identity = name
            go_on()

        if isinstance(found, Deferred):
            _Waiting(client, exchange, decide).start(found)
        else:
            decide(found)

    def _credentials(self, head: RequestHead) -> tuple[str, bytes]:
        values = head.fields.get_all(_FIELD)
        if not values:
            raise self._refusal("this proxy wants a user name and a password")
        if len(values) > 1:
            raise MalformedRequest("there are two Proxy-Authorization fields")
        scheme, _, token = values[0].strip().partition(b" ")
        if scheme.lower() != b"basic":
            raise self._refusal("this proxy takes Basic credentials")
        try:
            said = base64.b64decode(token.strip(), validate=True)
            name, colon, password = said.partition(b":")
            if not colon:
                raise ValueError("no colon")
            return name.decode("utf-8"), password
        except (binascii.Error, ValueError):
            raise self._refusal("the credentials cannot be read") from None

    def _refusal(self, message: str) -> ProxyAuthenticationRequired:
        return ProxyAuthenticationRequired(message, challenge=self._challenge)


class _Waiting:
    """The exchange's side of a client connection meanwhile: see `client_connection.RequestUser`."""

    def __init__(self, client: ClientConnection, exchange: Exchange, decide: Callable[[bool], None]) -> None:
        self._client = client
        self._exchange = exchange
        self._decide = decide
        self._is_over = False

    def start(self, found: Deferred[bool]) -> None:
        """Decide when it is found."""
        self._client.serve(self)
        found.addCallback(self._found).addErrback(self._failed)

    def _found(self, is_right: bool) -> None:
        if not self._is_over:
            self._decide(is_right)

    def _failed(self, failure: Failure) -> None:
        if self._is_over:
            return
        self._is_over = True
        problem = failure.value
        if not isinstance(problem, NetfwError):
            _log.failure("a password could not be checked", failure=failure)
            problem = NetfwError("the password could not be checked")
        self._client.answer(problem)

    def client_gone(self) -> None:
        """Nobody waits for an answer any more."""
        self._end(ClientGone("the client left"))

    def request_failed(self, error: NetfwError) -> None:
        """The proxy is stopping."""
        self._end(error)

    def _end(self, error: NetfwError) -> None:
        self._is_over = True
        self._exchange.error = error
        self._exchange.status = error.status
        self._exchange.close_reason = "client_closed"
        self._client.end_exchange(keep=False)

    def request_body(self, data: bytes) -> None:
        """Not before it is known who asks."""

    def request_complete(self, trailers: Fields) -> None:
        """See `request_body`."""

    def request_batch_end(self) -> None:
        """See `request_body`."""

    def origin_side(self) -> tuple[None, bool]:
        """There is none yet."""
        return None, False
