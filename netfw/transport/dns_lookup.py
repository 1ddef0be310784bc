"""One name looked up: A and AAAA side by side, servers in turn, one result.

In this room: `lookup`, `Found`. Not here: one question to one server (`dns_query`), the cache, who waits (`resolver`).

RFC 8305, section 3 (the resolution delay), RFC 1035, section 7.2 (servers in turn), RFC 2308 (what is missing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from netfw.errors import DnsFailure, DnsTimeout
from netfw.names.host import Host
from netfw.transport.deadlines import Deadline, Deadlines, later
from netfw.transport.dns_cache import Absence
from netfw.transport.dns_codes import RecordType, ResponseCode
from netfw.transport.dns_heard import DnsHeard, Heard
from netfw.transport.dns_message import MAX_ADDRESSES, Answer, Question
from netfw.transport.dns_query import ask
from netfw.transport.dns_servers import NoAnswer, Server, ServerOrder
from netfw.transport.resolution import Resolution, interleave

RESOLUTION_DELAY = 0.05
"""Seconds that one family waits for the other (RFC 8305, section 8: 50 ms)."""

ROUNDS = 2
"""How often a silent server is asked: a lost datagram is common, two are not. resolv.conf's `attempts` is 2 as well."""

PARTIAL_TTL = 10
"""Seconds that a result is kept which lacks a family because its answer was late or failed."""

_TYPES = {"ipv4": RecordType.A, "ipv6": RecordType.AAAA}
# Looking a member up in its class is a call (Python 3.11).
_NOERROR: Final = int(ResponseCode.NOERROR)
_NXDOMAIN: Final = int(ResponseCode.NXDOMAIN)
_CODE_WORDS = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True, slots=True)
class Found:
    """What a lookup found, and for how many seconds it may be kept (None: a negative answer that does not say)."""

    value: Resolution | Absence
    keep: int | None


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """Whom to ask and how long: `timeout` a message, `resolve_timeout` the whole lookup. `heard` gets the answers."""

    servers: ServerOrder
    timeout: float
    resolve_timeout: float
    families: tuple[str, ...]
    heard: Heard | None = None


def lookup(reactor: Any, deadlines: Deadlines, settings: LookupSettings, host: Host) -> Deferred[Found]:
    """Ask the DNS for a name. A name that is missing is found out, not a failure.

    Fails with `errors.DnsFailure` or `DnsTimeout`. Cancelling it closes every socket at once.
    """
    return _Lookup(reactor, deadlines, settings, host).start()


class _Lookup:
    """The families' questions, and the decision when there is enough to go on."""

    def __init__(self, reactor: Any, deadlines: Deadlines, settings: LookupSettings, host: Host) -> None:
        self._reactor = reactor
        self._deadlines = deadlines
        self._settings = settings
        self._host = host
        self._result: Deferred[Found] = Deferred(self._cancelled)
        self._asking: dict[str, _FamilyQuestion] = {}
        self._deadline: Deadline | None = None
        self._delay: Any = None
        self._over = False
        self._servers = settings.servers.current(reactor.seconds())

    def start(self) -> Deferred[Found]:
        self._deadline = self._deadlines.start(self._settings.resolve_timeout, self._timed_out)
        for family in self._settings.families:
            question = Question(self._host.text, _TYPES[family])
            asking = _FamilyQuestion(self._reactor, self._deadlines, self._settings, self._servers, question)
            self._asking[family] = asking
        for asking in list(self._asking.values()):
            if not self._over:
                asking.start(self._progress)
        return self._result

    def _progress(self) -> None:
        """A family came to its end."""
        if all(asking.done for asking in self._asking.values()):
            self._decide()
        elif self._delay is None and any(asking.has_addresses for asking in self._asking.values()):
            self._delay = later(self._reactor, RESOLUTION_DELAY, self._delay_is_over)

    def _delay_is_over(self) -> None:
        self._delay = None
        self._decide()

    def _timed_out(self) -> None:
        self._deadline = None
        if any(asking.has_addresses for asking in self._asking.values()):
            self._decide()
            return
        self._end()
        self._result.errback(self._timeout_error())

    def _decide(self) -> None:
        self._end()
        outcome = self._outcome()
        if isinstance(outcome, Exception):
            self._result.errback(outcome)
        else:
            self._result.callback(outcome)

    def _outcome(self) -> Found | Exception:
        asked = list(self._asking.values())
        with_addresses = [(family.answer, family.server) for family in asked if family.answer and family.has_addresses]
        if with_addresses:
            return self._found([answer for answer, _ in with_addresses], with_addresses[0][1])
        failed = [family for family in asked if family.answer is None or not _is_negative(family.answer)]
        if failed:
            answered = [family for family in failed if not family.was_silent]
            if not answered:
                return self._timeout_error()
            return DnsFailure(f"{self._host} cannot be resolved: {answered[0].problem} ({answered[0].server})")
        answers = [family.answer for family in asked if family.answer is not None]
        # A server that says NXDOMAIN for AAAA only is broken in a known way (RFC 4074, section 4.2): the name exists.
        exists = any(answer.code != _NXDOMAIN for answer in answers)
        keep = [answer.negative_ttl for answer in answers if answer.negative_ttl is not None]
        return Found(Absence(exists, str(asked[0].server)), min(keep) if len(keep) == len(answers) else None)

    def _found(self, answers: list[Answer], server: Server | None) -> Found:
        ttl = min(answer.ttl for answer in answers)
        every = (address for answer in answers for address in answer.addresses)
        addresses = interleave(every, self._settings.families)[:MAX_ADDRESSES]
        chain = tuple(dict.fromkeys(name for answer in answers for name in answer.chain))
        resolution = Resolution(self._host, addresses, chain, ttl, str(server), "dns")
        complete = all(family.answer and family.is_settled for family in self._asking.values())
        return Found(resolution, ttl if complete else min(ttl, PARTIAL_TTL))

    def _timeout_error(self) -> DnsTimeout:
        servers = ", ".join(map(str, self._servers))
        return DnsTimeout(f"{self._host} was not resolved in time: no answer from {servers}")

    def _cancelled(self, _: Deferred[Found]) -> None:
        self._end()

    def _end(self) -> None:
        self._over = True
        for asking in self._asking.values():
            asking.stop()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._delay is not None:
            self._delay.cancel()
        self._deadline = self._delay = None


class _FamilyQuestion:
    """One question put to the servers in turn, until one gives an answer that settles it.

    A server that fails (SERVFAIL, REFUSED, no route) is not asked again; silent ones are, up to ROUNDS times.
    """

    def __init__(
        self,
        reactor: Any,
        deadlines: Deadlines,
        settings: LookupSettings,
        servers: Sequence[Server],
        question: Question,
    ) -> None:
        self._reactor = reactor
        self._deadlines = deadlines
        self._settings = settings
        self._question = question
        self._queue = list(servers)
        self._silent: list[Server] = []
        self._round = 1
        self._query: Deferred[Answer] | None = None
        self._progress: Any = None
        self._asked_at = 0.0
        self.done = False
        self.answer: Answer | None = None
        self.server: Server | None = None
        self.problem = ""

    @property
    def has_addresses(self) -> bool:
        return self.answer is not None and bool(self.answer.addresses)

    @property
    def is_settled(self) -> bool:
        return self.answer is not None and (self.has_addresses or _is_negative(self.answer))

    @property
    def was_silent(self) -> bool:
        """Whether no server said anything at all."""
        return not self.problem

    def start(self, progress: Any) -> None:
        self._progress = progress
        self._ask_next()

    def stop(self) -> None:
        query, self._query = self._query, None
        if query is not None:
            query.cancel()

    def _ask_next(self) -> None:
        if not self._queue and self._silent and self._round < ROUNDS:
            self._round += 1
            self._queue, self._silent = self._silent, []
        if not self._queue:
            self._finish()
            return
        server = self._queue.pop(0)
        self._asked_at = self._reactor.seconds()
        self._query = query = ask(self._reactor, self._deadlines, server, self._question, self._settings.timeout)
        query.addCallbacks(self._answered, self._failed, callbackArgs=(server,), errbackArgs=(server,))

    def _answered(self, answer: Answer, server: Server) -> None:
        self._query = None
        if self._settings.heard is not None:
            self._tell(self._settings.heard, server, answer)
        if answer.addresses or _is_negative(answer):
            self.answer, self.server = answer, server
            self._finish()
            return
        self.server = server
        if answer.looped:
            self.problem = "its CNAMEs go in a circle or too far"
        else:
            self.problem = f"the answer was {_CODE_WORDS.get(answer.code, f'response code {answer.code}')}"
        self._ask_next()

    def _failed(self, failure: Failure, server: Server) -> None:
        # Only stop() cancels, and it has no use for what comes then.
        error = failure.value
        if isinstance(error, CancelledError):
            return
        self._query = None
        if self._settings.heard is not None:
            self._tell(self._settings.heard, server, None, error)
        if isinstance(error, NoAnswer) and error.timed_out:
            self._silent.append(server)
            self._settings.servers.was_silent(server, self._reactor.seconds())
        else:
            self.server, self.problem = server, str(error)
        self._ask_next()

    def _tell(self, heard: Heard, server: Server, answer: Answer | None, error: object = None) -> None:
        seconds = max(0.0, self._reactor.seconds() - self._asked_at)
        name, kind = self._question.name, RecordType(self._question.type).name
        if answer is None:
            silent = isinstance(error, NoAnswer) and error.timed_out
            heard(DnsHeard(name, kind, str(server), seconds, error=str(error), timed_out=silent))
            return
        word = _CODE_WORDS.get(answer.code) or (
            ResponseCode(answer.code).name if answer.code in set(ResponseCode) else str(answer.code)
        )
        ttl = answer.ttl if answer.addresses else answer.negative_ttl
        problem = None if answer.addresses or _is_negative(answer) else f"the answer was {word}"
        if answer.looped:
            problem = "its CNAMEs go in a circle or too far"
        heard(DnsHeard(name, kind, str(server), seconds, word, answer.addresses, answer.chain, ttl, error=problem))

    def _finish(self) -> None:
        self.done = True
        self._progress()


def _is_negative(answer: Answer) -> bool:
    """NXDOMAIN, or NOERROR without an address."""
    if answer.looped:
        return False
    return answer.code == _NXDOMAIN or (answer.code == _NOERROR and not answer.addresses)


def settings_of(
    servers: Sequence[Server | tuple[Any, int]],
    timeout: float,
    resolve_timeout: float,
    families: Sequence[str],
    heard: Heard | None = None,
) -> LookupSettings:
    """Check and gather what a resolver is made with. Raises ValueError."""
    if not servers:
        raise ValueError("a resolver needs at least one server")
    if not families or not set(families) <= set(_TYPES):
        raise ValueError(f"families are ipv6 and ipv4, not {tuple(families)}")
    checked = tuple(server if isinstance(server, Server) else Server(*server) for server in servers)
    return LookupSettings(ServerOrder(checked), timeout, resolve_timeout, tuple(dict.fromkeys(families)), heard)
