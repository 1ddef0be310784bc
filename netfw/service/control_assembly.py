"""The wiring of the control API: from the configuration to the resource at `/` of the admin surface.

Not here: the rest of the proxy (`assembly`).
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger
from zope.interface import implementer

from netfw.config import defaults
from netfw.config.listener_ports import permitted
from netfw.config.model import Configuration, ControlSection, ListenerSection
from netfw.control.arns import Arns
from netfw.control.audit import audit_line
from netfw.control.file_policies import FilePolicies
from netfw.control.identity import Identity
from netfw.control.key_file import KeyFile
from netfw.control.local_users import LocalUsers
from netfw.control.operations.call import ProxyFacts, Site
from netfw.control.resource import ControlResource
from netfw.control.roles import Caller
from netfw.control.throttle import Throttle
from netfw.interfaces import IRecordSink, IStore
from netfw.service.proxy_facts import facts_from_plain, plain_facts
from netfw.service.proxy_settings import ProxySettings, Turn
from netfw.service.record_answers import RecordAnswers
from netfw.service.store_listeners import Doors, StoreListeners
from netfw.store.resources import StoredListener, StoredProxy
from netfw.telemetry.file_destination import file_log
from netfw.telemetry.record_log import RecordLog

NO_CONTROL = ControlSection(
    keys=None,
    region=defaults.REGION,
    account=defaults.ACCOUNT,
    quotas=defaults.QUOTAS,
    rate=defaults.CONTROL_RATE,
    burst=defaults.CONTROL_BURST,
    audit=None,
)


@implementer(IRecordSink)
class _AuditInLog:
    """Audit records in the program's own log, where no file is configured for them."""

    def __init__(self) -> None:
        self._log = Logger()

    def write(self, record: bytes) -> None:
        """See `IRecordSink`."""
        self._log.info("{record}", record=record.decode("ascii").rstrip())


class AuditFile(Service):
    """The file of audit records, open while the proxy runs."""

    def __init__(self, log: RecordLog) -> None:
        self._record_log = log

    def startService(self) -> None:
        """Raises OSError when the file cannot be opened."""
        super().startService()
        self._record_log.start()

    def stopService(self) -> None:
        """Write what waits."""
        super().stopService()
        self._record_log.close()

    def reopen(self) -> None:
        """Open it again, after a rotation."""
        self._record_log.reopen()


class ControlSurface:
    """The resource, and the services that run with it. `audit` takes the audit records."""

    def __init__(
        self,
        configuration: Configuration,
        reactor: Any,
        *,
        policies: Any,
        ca_certificate: Callable[[], bytes | None],
        ports: Callable[[], Sequence[tuple[ListenerSection, int | None]]],
        doors: Doors,
    ) -> None:
        section = configuration.control or NO_CONTROL
        self._configuration = configuration
        self._section = section
        self._ports = ports
        self._arns = Arns(section.region, section.account)
        self._ca_certificate = ca_certificate
        self._policies = policies
        self._doors = doors
        self._observed: Callable[[Any, StoredProxy], StoredProxy] | None = None
        self.services: list[Service] = []
        self.audit: Any = _AuditInLog()
        if section.audit is not None:
            self.audit = file_log(section.audit)
            self.services.append(AuditFile(self.audit))
        self.answers = RecordAnswers(reactor, configuration, policies)
        self.resource = ControlResource(
            reactor=reactor,
            now=time.time,
            store=self._store(reactor, policies),
            site=self.site,
            identity=Identity(
                KeyFile(section.keys) if section.keys is not None else None,
                LocalUsers(section.local, os.geteuid),
                Throttle(section.rate, float(section.burst)),
                time.time,
            ),
            audit=self.audit,
            records=self.answers,
        )

    def audit_reading(self, operator: Any, operation: str, about: dict[str, str]) -> None:
        """Leave a record of an operator (`admin.operator_keys`) who is shown what only decryption shows."""
        self.audit.write(
            audit_line(
                now=time.time(),
                request_id=str(uuid.uuid4()),
                caller=Caller(operator.name, frozenset(), key=operator.fingerprint, origin="manhole"),
                operation=operation,
                about=about,
                outcome="done",
            )
        )

    def _store(self, reactor: Any, policies: Any) -> IStore:
        section = self._configuration.policy
        if section.store is None:
            place = section.file or section.directory
            return FilePolicies(policies, self._configuration.proxy.name, str(place), self.site)
        # The room of the store brings a database library with it: entered only where there is one.
        from netfw.service.control_store import ControlStore
        from netfw.store.configured import followed
        from netfw.store.fleet import observed

        following = followed(self._configuration)
        store = ControlStore(reactor, lambda: following.open(time.time))
        self._observed = observed
        self.services.append(store)
        return store

    def follow(self, turn: Turn) -> None:
        """Have what the store asks of this proxy carried out; `turn` turns interception off and on."""
        configuration = self._configuration
        if configuration.policy.store is None:
            return
        settings = ProxySettings(
            configuration.proxy.name,
            configured=configuration.tls_intercept.enabled,
            turn=turn,
            listeners=StoreListeners(configuration.listeners, self._doors),
        )
        self._policies.carry_out_by(settings.carry_out, lambda: plain_facts(self.facts()))

    def facts(self) -> ProxyFacts:
        """What this process's proxy.yaml says, now."""
        configuration = self._configuration
        ports = [(section, port) for section, port in self._ports() if port is not None]
        listeners = tuple(dict.fromkeys(StoredListener(port, section.type.value) for section, port in ports))
        bound = {section.name: port for section, port in ports}
        certificate = self._ca_certificate()
        return ProxyFacts(
            hostname=configuration.proxy.hostname,
            listeners=listeners,
            permitted=permitted(
                configuration.listeners, [bound.get(section.name) for section in configuration.listeners]
            ),
            tls_mode="ENABLED" if configuration.tls_intercept.enabled else "DISABLED",
            ca_arn=None if certificate is None else ca_arn(self._section, certificate),
        )

    def site(self) -> Site:
        """What holds here now."""
        ours, facts = self._configuration.proxy.name, self.facts()
        site = Site(
            arns=self._arns,
            quotas=self._section.quotas,
            facts=lambda transaction, name: facts if name == ours else _facts_of_nodes(transaction, name),
        )
        return site if self._observed is None else replace(site, observed=self._observed)


def _facts_of_nodes(transaction: Any, name: str) -> ProxyFacts | None:
    """What a node of another proxy has told of its own file, the one that was heard of last."""
    from netfw.store.fleet import nodes_of

    told = [node for node in nodes_of(transaction, name) if not node.is_silent(transaction.now) and "site" in node.load]
    if not told:
        return None
    return facts_from_plain(max(told, key=lambda node: node.contact).load["site"])


def ca_arn(section: ControlSection, certificate: bytes) -> str:
    """What the API calls a CA: an ARN in the form of the vendor's, made of the certificate's fingerprint."""
    name = uuid.UUID(bytes=hashlib.sha256(certificate).digest()[:16])
    return f"arn:aws:acm-pca:{section.region}:{section.account}:certificate-authority/{name}"
