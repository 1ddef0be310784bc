"""Who sends a request: over TCP whoever signed it, over the Unix socket whoever the kernel says.

The socket's mode says who can open it, `local_users` who they are then. Not here: what they may do (`roles`).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.web.server import Request

from netfw.control.access_keys import KeyProblem
from netfw.control.key_file import KeyFile
from netfw.control.local_users import LocalUsers
from netfw.control.refusals import IncompleteSignature, InternalFailure, UnrecognizedClient
from netfw.control.roles import Caller
from netfw.control.service_model import SIGNING_NAME
from netfw.control.signature import SignedRequest, check_signature, read_claim
from netfw.control.throttle import Throttle

_CREDENTIALS = struct.Struct("3i")


class Identity:
    """Finds out who a request is from. `keys` is None where no file of keys is configured."""

    def __init__(
        self, keys: KeyFile | None, local: LocalUsers, throttle: Throttle, now: Callable[[], float]
    ) -> None:
        self._keys = keys
        self._local = local
        self._throttle = throttle
        self._now = now

    def caller(self, request: Request, body: bytes) -> Caller:
        """Who it is. Raises a `Refusal` unless that is certain, and `Throttled` when they ask too often."""
        if isinstance(request.getHost(), UNIXAddress):
            caller = self.local_caller(request)
            self._throttle.take(caller.origin, self._now())
            return caller
        address = request.getClientAddress()
        origin = f"{address.host}:{address.port}"
        signed = SignedRequest(_fields(request), body)
        claim = read_claim(signed, SIGNING_NAME, self._now())
        try:
            key = self._known_keys().get(claim.key)
        except UnrecognizedClient:
            self._throttle.take(f"unknown keys from {address.host}", self._now())
            raise
        check_signature(signed, claim, key.secret)
        # After the signature: nobody must be able to use up another's requests.
        self._throttle.take(key.id, self._now())
        return key.caller(origin)

    def local_caller(self, request: Request) -> Caller:
        """Who is at the other end of the Unix socket that a request came over."""
        handle: socket.socket = request.channel.transport.getHandle()
        credentials = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(credentials)
        return self._local.caller(uid, gid, f"socket, uid {uid}, pid {pid}")

    def is_known(self, authorization: bytes) -> bool:
        """Does this Authorization field name a key that is known? Says nothing of its signature."""
        _, _, rest = authorization.partition(b"Credential=")
        key_id = rest.partition(b"/")[0].decode("ascii", "replace")
        try:
            return self._known_keys().get(key_id) is not None
        except (UnrecognizedClient, InternalFailure):
            return False

    def _known_keys(self) -> Any:
        if self._keys is None:
            raise UnrecognizedClient("no access keys are configured here: set control.keys, then `netfw key create`")
        try:
            return self._keys.keys()
        except KeyProblem as problem:
            raise InternalFailure("the file of access keys cannot be used; the proxy's log says why") from problem


def _fields(request: Request) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(
            (name.decode("ascii").lower(), value.decode("utf-8"))
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        )
    except UnicodeDecodeError:
        raise IncompleteSignature("a field of the request is not UTF-8") from None
