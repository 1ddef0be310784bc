"""The control API's client: one class, over whichever way leads to the API. Throttled calls wait and are made again.

A way takes a target and a body and gives a reply: the admin socket and a port over HTTP here, the store itself in
`store_way`. What cannot be known to have been done is never repeated: only readings are, after an error that is the
server's. Not here: which way is taken (`control_access`).
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import click

from netfw.cli.credentials import Profile
from netfw.control.json_protocol import BODY_LIMIT, CONTENT_TYPE, GENERATION_FIELD
from netfw.control.own_model import OWN_OPERATIONS
from netfw.control.refusals import InternalFailure, InvalidToken, Throttled
from netfw.control.service_model import OPERATIONS, SIGNING_NAME
from netfw.control.signature import sign

ANSWER_SECONDS = 120.0
ANSWER_LIMIT = 256 * 1024 * 1024
PATIENCE = 120.0
"""Seconds for which a call is made again and again."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_MOST_FAILURES = 3
_BY_NAME = {operation.name: operation for operation in (*OPERATIONS, *OWN_OPERATIONS)}
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reply:
    """`generation`: the one that the call made, None when it made none."""

    status: int
    body: bytes
    generation: int | None = None


class Way(Protocol):
    """How calls reach the API. `place` says who is asked."""

    place: str

    def send(self, target: str, body: bytes) -> Reply:
        """Make a call. Raises NobodyThere, and LostOnTheWay when it may have been carried out."""


class CannotAsk(click.ClickException):
    """The root of what keeps an answer from coming."""


class NobodyThere(CannotAsk):
    """Nobody listens at the place: nothing was asked."""


class NotForThisUser(CannotAsk):
    """The place is not open to this user."""


class LostOnTheWay(CannotAsk):
    """The answer did not come."""


class Refused(click.ClickException):
    """The API's answer is an error. `code` is its `__type`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class HttpWay:
    """A port, where every call is signed. `connect` makes a connection; `host` is what the Host field says."""

    def __init__(self, place: str, host: str, connect: Callable[[], http.client.HTTPConnection], key: Profile) -> None:
        self.place = place
        self._host = host
        self._connect = connect
        self._key = key

    def send(self, target: str, body: bytes) -> Reply:
        """See `Way`."""
        date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        fields = [
            ("content-type", CONTENT_TYPE),
            ("host", self._host),
            ("x-amz-date", date),
            ("x-amz-target", target),
        ]
        connection = _opened(self._connect(), self.place)
        if self._key.access_key_id is None or self._key.secret_access_key is None:
            connection.close()
            raise click.ClickException(
                f"there is no access key for {self.place}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write a"
                " profile into the credentials file; `netfw key create NAME --profile NAME`, on the proxy's machine,"
                " does both"
            )
        authorization = sign(
            fields,
            body,
            key=self._key.access_key_id,
            secret=self._key.secret_access_key,
            region=self._key.region,
            service=SIGNING_NAME,
            date=date,
        )
        return _asked(connection, self.place, {**dict(fields), "authorization": authorization}, body)


class SocketWay:
    """The admin socket, where the kernel says who asks."""

    def __init__(self, place: str, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self.place = place
        self._connect = connect

    def send(self, target: str, body: bytes) -> Reply:
        """See `Way`."""
        connection = _opened(self._connect(), self.place)
        return _asked(connection, self.place, {"content-type": CONTENT_TYPE, "x-amz-target": target}, body)


def way_to(endpoint: str, profile: Profile) -> HttpWay:
    """To an endpoint: http or https, host and port. Raises ClickException where it is none."""
    parts = urlsplit(endpoint)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.path not in ("", "/"):
        raise click.ClickException(f"{endpoint!r} is no endpoint: write https://HOST:PORT, or http:// on this machine")
    host, secure = parts.hostname, parts.scheme == "https"
    number = port or (443 if secure else 80)

    def connect() -> http.client.HTTPConnection:
        if not secure:
            return http.client.HTTPConnection(host, number, timeout=ANSWER_SECONDS)
        try:
            context = ssl.create_default_context(cafile=profile.ca_certificate)
        except OSError as error:
            raise click.ClickException(f"ca_certificate {profile.ca_certificate}: {error}") from None
        return http.client.HTTPSConnection(host, number, timeout=ANSWER_SECONDS, context=context)

    return HttpWay(endpoint, parts.netloc.rpartition("@")[2], connect, profile)


def _opened(connection: http.client.HTTPConnection, place: str) -> http.client.HTTPConnection:
    """The connection, made: what fails until then has asked for nothing."""
    try:
        connection.connect()
    except (FileNotFoundError, ConnectionRefusedError):
        raise NobodyThere(f"nobody answers on {place}; is the proxy running?") from None
    except PermissionError:
        raise NotForThisUser(
            f"{place} is not for this user: ask for membership of the socket's group, or for an access key"
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise click.ClickException(
            f"{place}: its certificate is not from somebody who is trusted here ({error.verify_message}); name the CA"
            " by ca_certificate in the profile, or NETFW_CA_CERTIFICATE"
        ) from None
    except OSError as error:
        raise click.ClickException(f"{place} cannot be reached: {error.strerror or error}") from None
    return connection


def _asked(connection: http.client.HTTPConnection, place: str, fields: dict[str, str], body: bytes) -> Reply:
    """One call. Raises LostOnTheWay."""
    try:
        connection.request("POST", "/", body, headers=fields)
        response = connection.getresponse()
        made = response.getheader(GENERATION_FIELD)
        return Reply(response.status, response.read(ANSWER_LIMIT + 1), None if made is None else int(made))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LostOnTheWay(f"{place} did not answer: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()


class ControlClient:
    """Calls by name. `generation` is what the last call made, None when it made none."""

    def __init__(
        self,
        way: Way,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self.way = way
        self.generation: int | None = None
        self._sleep = sleep
        self._now = now
        self._patience = patience

    def call(self, name: str, **given: Any) -> dict[str, Any]:
        """The operation's output; members that are None are left out of the input. Raises Refused, and what the way
        raises.
        """
        operation = _BY_NAME[name]
        body = json.dumps({member: value for member, value in given.items() if value is not None}).encode("ascii")
        deadline = self._now() + self._patience
        pause, failures = _FIRST_PAUSE, 0
        while True:
            error: click.ClickException
            try:
                reply = self.way.send(operation.target, body)
                answer = self._answer(reply)
                self.generation = reply.generation
                return answer
            except Refused as refused:
                error, code = refused, refused.code
            except LostOnTheWay as lost:
                if operation.writes:
                    raise LostOnTheWay(
                        f"{lost.message}; whether {name} was done is not known: look before trying again"
                    ) from None
                error, code = lost, InternalFailure.code
            if code == InternalFailure.code and not operation.writes:
                failures += 1
            elif code != Throttled.code:
                raise error
            if failures > _MOST_FAILURES or self._now() + pause > deadline:
                raise error
            self._sleep(random.uniform(pause / 2, pause))
            pause = min(_LONGEST_PAUSE, pause * 2)

    def edit(self, attempt: Callable[[], Result]) -> Result:
        """What `attempt` returns: it reads, and changes with the token of what it read; when somebody else was first it
        runs again, until its patience ends. Raises Refused.
        """
        deadline = self._now() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return attempt()
            except Refused as refused:
                if refused.code != InvalidToken.code:
                    raise
                if self._now() + pause > deadline:
                    raise Refused(refused.code, f"{refused.message} (others change it all the time)") from None
            self._sleep(random.uniform(0, pause))
            pause = min(1.0, pause * 1.5)

    def pages(self, name: str, member: str, **given: Any) -> list[Any]:
        """All of a list that comes in pages."""
        found: list[Any] = []
        token = None
        while True:
            answer = self.call(name, NextToken=token, **given)
            found += answer.get(member, [])
            token = answer.get("NextToken")
            if token is None:
                return found

    def _answer(self, reply: Reply) -> dict[str, Any]:
        if reply.status == 413:
            raise click.ClickException(
                f"{self.way.place} takes at most {BODY_LIMIT >> 20} MiB at once: apply the files one by one"
            )
        try:
            answer = json.loads(reply.body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or (reply.status != 200 and "__type" not in answer):
            raise click.ClickException(
                f"{self.way.place} answers {reply.status} with something that is not of the control API"
            )
        if reply.status != 200:
            raise Refused(str(answer["__type"]), str(answer.get("Message", answer["__type"])))
        return answer
