"""What is asked of records in the running proxy: by the control API and in the manhole.

In this room: from a question to an answer, with what only decryption shows veiled unless whoever asks may see it. All
reading and walking is on a thread. Not here: who may (`control.roles`), and reading the files (`record_file`).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import Deferred

from netfw.config.model import Configuration
from netfw.control.refusals import InvalidRequest, ResourceNotFound, UnsupportedOperation
from netfw.control.shapes import shown
from netfw.service.record_file import NoRecordFile, RecordFile
from netfw.telemetry.decrypted_fields import is_decrypted, veiled
from netfw.telemetry.denial_report import Asked, Report, report
from netfw.telemetry.record_choice import Choice
from netfw.telemetry.record_index import canonical_id
from netfw.telemetry.record_search import Found

_LATEST = 20
# An answer, and whether it shows what only decryption does.
Answer = tuple[dict[str, Any], bool]


class RecordAnswers:
    """`policies`: the policy in force, and since when (`loaded_at`)."""

    def __init__(self, reactor: Any, configuration: Configuration, policies: Any) -> None:
        self.file = RecordFile(configuration.log, reactor)
        self._in_store = configuration.policy.store is not None
        self._policies = policies

    def answer(self, operation: str, given: Mapping[str, Any], decrypted: bool) -> Deferred[Answer]:
        """A Deferred of the output of one of the API's operations on records. Raises a `Refusal`, or fails with one."""
        try:
            return _OPERATIONS[operation](self, given, decrypted)
        except NoRecordFile as error:
            raise UnsupportedOperation(str(error)) from None

    def explained(self, exchange_id: str, decrypted: bool) -> Deferred[tuple[Report | None, tuple[str, ...]]]:
        """A Deferred of what is known of the exchange with this canonical id, None where nothing is, and of what is to
        be said of the search. Raises NoRecordFile.
        """
        return self.file.find(exchange_id).addCallback(self._explain, decrypted)

    def _explain(self, found: Found, decrypted: bool) -> Any:
        record = found.record
        if record is None:
            return None, found.notes
        asked = self._asked(record)

        def explain() -> tuple[Report, tuple[str, ...]]:
            return report(record, asked, in_store=self._in_store, decrypted=decrypted, notes=found.notes), found.notes

        return self.file.in_thread(explain)

    def _asked(self, record: Mapping[str, Any]) -> Asked:
        """Former generations are not read here: loading one would take the interpreter from requests."""
        current = self._policies.current
        is_of_then = (
            record.get("generation") == current.generation and record.get("started", 0.0) >= self._policies.loaded_at
        )
        source = f"generation {current.generation}, in force then" if is_of_then else "as they are now"
        return Asked(current.configuration, source, is_of_then)

    def _explain_exchange(self, given: Mapping[str, Any], decrypted: bool) -> Deferred[Answer]:
        def told(found: tuple[Report | None, tuple[str, ...]]) -> Answer:
            explained, notes = found
            if explained is None:
                raise _not_found(given["Id"], notes)
            output = {"Report": explained.as_data(), "Lines": list(explained.lines())}
            return output, decrypted and is_decrypted(explained.record)

        return self.explained(_canonical(given["Id"]), decrypted).addCallback(told)

    def _find_record(self, given: Mapping[str, Any], decrypted: bool) -> Deferred[Answer]:
        def told(found: Found) -> Answer:
            record = found.record
            if record is None:
                raise _not_found(given["Id"], found.notes)
            shown_record = record if decrypted else veiled(record)
            output = {"Record": shown_record, "Decrypted": decrypted, "Notes": list(found.notes)}
            return output, decrypted and is_decrypted(record)

        return self.file.find(_canonical(given["Id"])).addCallback(told)

    def _read_records(self, given: Mapping[str, Any], decrypted: bool) -> Deferred[Answer]:
        def told(records: list[dict[str, Any]]) -> Answer:
            shown_records = records if decrypted else [veiled(record) for record in records]
            return {"Records": shown_records, "Decrypted": decrypted}, decrypted and any(map(is_decrypted, records))

        return self.file.latest(given.get("MaxResults", _LATEST), _choice(given)).addCallback(told)


_OPERATIONS = {
    "ExplainExchange": RecordAnswers._explain_exchange,
    "FindRecord": RecordAnswers._find_record,
    "ReadRecords": RecordAnswers._read_records,
}


def _canonical(text: str) -> str:
    found = canonical_id(text)
    if found is None:
        raise InvalidRequest(f"Id: {shown(text)} is no id: it is ten letters and digits, like 2HA26-1F5FD")
    return found


def _not_found(exchange_id: str, notes: tuple[str, ...]) -> ResourceNotFound:
    return ResourceNotFound("; ".join([f"no record has the id {shown(exchange_id)}", *notes]))


def _choice(given: Mapping[str, Any]) -> Choice:
    networks, identities = [], set()
    for client in given.get("Clients", ()):
        try:
            networks.append(ip_network(client, strict=False))
        except ValueError:
            identities.add(client)
    types = frozenset(word for word, member in (("deny", "Denied"), ("alert", "Alerts")) if given.get(member))
    return Choice(
        types,
        tuple(networks),
        frozenset(identities),
        given.get("Host"),
        given.get("Rule"),
        given.get("Since"),
        given.get("Until"),
    )
