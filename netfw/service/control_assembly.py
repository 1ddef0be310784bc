"""The wiring of the control API: from the configuration to the resource at `/` of the admin surface.

Not here: the rest of the proxy (`assembly`).
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger
from zope.interface import implementer

from netfw.config import defaults
from netfw.config.model import Configuration, ControlSection
from netfw.control.arns import Arns
from netfw.control.file_policies import FilePolicies
from netfw.control.identity import Identity
from netfw.control.key_file import KeyFile
from netfw.control.operations.call import Site
from netfw.control.resource import ControlResource
from netfw.control.throttle import Throttle
from netfw.interfaces import IRecordSink, IStore
from netfw.service.proxy_settings import ProxySettings, Turn
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
        ports: Callable[[], Sequence[int | None]],
    ) -> None:
        section = configuration.control or NO_CONTROL
        self._configuration = configuration
        self._section = section
        self._ports = ports
        self._arns = Arns(section.region, section.account)
        self._ca_certificate = ca_certificate
        self._proxy_store: IStore | None = None
        self._reactor = reactor
        self._observed: Callable[[Any, StoredProxy], StoredProxy] | None = None
        self.services: list[Service] = []
        self.audit: Any = _AuditInLog()
        if section.audit is not None:
            self.audit = file_log(section.audit)
            self.services.append(AuditFile(self.audit))
        self.resource = ControlResource(
            reactor=reactor,
            now=time.time,
            store=self._store(reactor, policies),
            site=self.site,
            identity=Identity(
                KeyFile(section.keys) if section.keys is not None else None,
                Throttle(section.rate, float(section.burst)),
                time.time,
            ),
            audit=self.audit,
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
        self._proxy_store = store
        self.services.append(store)
        return store

    def follow(self, turn: Turn) -> None:
        """Have what the store says of this proxy carried out; `turn` turns interception off and on."""
        if self._proxy_store is None:
            return
        configuration = self._configuration
        self.services.append(
            ProxySettings(
                self._reactor,
                self._proxy_store,
                configuration.proxy.name,
                configured=configuration.tls_intercept.enabled,
                turn=turn,
            )
        )

    def site(self) -> Site:
        """What holds here now."""
        configuration = self._configuration
        listeners = tuple(
            StoredListener(port or section.port, section.type.value)
            for section, port in zip(configuration.listeners, self._ports(), strict=True)
        )
        certificate = self._ca_certificate()
        site = Site(
            arns=self._arns,
            quotas=self._section.quotas,
            hostname=configuration.proxy.hostname,
            listeners=listeners,
            tls_mode="ENABLED" if configuration.tls_intercept.enabled else "DISABLED",
            ca_arn=None if certificate is None else ca_arn(self._section, certificate),
        )
        observed = self._observed
        if observed is None:
            return site
        return replace(site, observed=lambda transaction, proxy: self._with_ca(observed(transaction, proxy), site))

    def _with_ca(self, proxy: StoredProxy, site: Site) -> StoredProxy:
        """The store has the CA as it was when somebody wrote this proxy down; it may have been replaced since."""
        if proxy.name != self._configuration.proxy.name or proxy.tls_mode != "ENABLED":
            return proxy
        return replace(proxy, ca_arn=site.ca_arn)


def ca_arn(section: ControlSection, certificate: bytes) -> str:
    """What the API calls a CA: an ARN in the form of the vendor's, made of the certificate's fingerprint."""
    name = uuid.UUID(bytes=hashlib.sha256(certificate).digest()[:16])
    return f"arn:aws:acm-pca:{section.region}:{section.account}:certificate-authority/{name}"
