"""The wiring: from a checked configuration to a service. Everything is passed by name; nothing looks others up.

In this room: one process, and the supervisor of several. What serves is wired in `data_path_assembly`, a worker in
`worker_assembly`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, succeed

from netfw.admin.server import AdminSite, admin_services
from netfw.admin.status import ProcessStatus
from netfw.config.errors import ConfigErrors, Problem
from netfw.config.listener_ports import chosen_ports
from netfw.config.model import Configuration
from netfw.config.preflight import read_authority
from netfw.interfaces import IRecordSink
from netfw.policy.compile import CompiledPolicy
from netfw.proxy.credentials import read_credentials
from netfw.proxy.interception_scope import InForce, InterceptionScope
from netfw.service.control_assembly import ControlSurface
from netfw.service.data_path import listener_rows
from netfw.service.data_path_assembly import build_data_path
from netfw.service.expiry_watch import ExpiryService, ExpiryWatch
from netfw.service.first_policy import FirstPolicy, first_policy
from netfw.service.gathering_site import GatheringResource
from netfw.service.given_sockets import GivenSockets
from netfw.service.indexing import Indexing
from netfw.service.interception_switch import InterceptionSwitch
from netfw.service.policy_choice import choose_policy_source
from netfw.service.policy_source import PolicyInForce
from netfw.service.proxy_service import ProxyService
from netfw.service.readiness import add_checks, listening, workers_accept
from netfw.service.reading_anew import Found, copy_anew, in_thread, read_anew
from netfw.service.reconfiguration import prepare
from netfw.service.record_assembly import build_outputs
from netfw.service.record_file import RecordFile
from netfw.service.reloading import Commit
from netfw.service.retaining import Retaining
from netfw.service.supervisor_service import SupervisorService
from netfw.service.systemd import Notifier
from netfw.telemetry.delivery_rows import delivery_rows
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.metrics_merge import MergedMetrics
from netfw.telemetry.output_rows import output_rows
from netfw.tls.issuer import LocalIssuer
from netfw.transport.deadlines import Deadlines
from netfw.transport.slices import run_in_slices, run_to_the_end
from netfw.workers import messages
from netfw.workers.child import Child, ChildOwner
from netfw.workers.distribution import Published, print_policy
from netfw.workers.leaf_signer import LeafSigner
from netfw.workers.plain import to_plain
from netfw.workers.program import worker_program
from netfw.workers.sockets import Inheritance
from netfw.workers.supervisor import Supervisor
from netfw.x509.authority import CertificateAuthority

_MANHOLE_HINT = "run: pip install 'netfw[manhole]', or leave the section out"
WORKER_MODULE = "netfw.service.worker_process"


def assemble(
    configuration: Configuration,
    reactor: Any,
    *,
    notifier: Notifier | None = None,
    given: GivenSockets | None = None,
) -> IService:
    """The whole proxy, not yet started; `given`: what listens already.

    Raises what the configuration's files are refused with.
    """
    build = _supervisor if configuration.workers else _one_process
    return build(configuration, reactor, notifier or Notifier({}, 0), given or GivenSockets([]))


def _authority(configuration: Configuration) -> CertificateAuthority | None:
    return read_authority(configuration, time.time()) if configuration.tls_intercept.enabled else None


def _one_process(configuration: Configuration, reactor: Any, notifier: Notifier, given: GivenSockets) -> IService:
    status = ProcessStatus(name=configuration.proxy.name, now=time.time)
    first = first_policy(configuration)
    policies = choose_policy_source(configuration, first, reactor, status, lambda result: service.reloaded(result))
    authority = _authority(configuration)
    issuer = None
    if authority is not None:
        issuer = LocalIssuer(
            authority,
            organization=configuration.tls_intercept.organization,
        )
    path = build_data_path(
        configuration,
        reactor,
        deadlines=Deadlines(reactor),
        policies=policies,
        issuer=issuer,
        credentials=read_credentials(configuration),
        ports=_first_ports(configuration, first),
    )
    plane, records = path.plane, path.records
    expiry = ExpiryWatch(plane.deadlines, time.time, path.credentials.ends)

    def take_over(new: Configuration) -> Deferred[Commit]:
        def ready(found: Found) -> Commit:
            commit = prepare(path, new, found.credentials)

            def both() -> None:
                if found.authority is not None and issuer is not None:
                    issuer.replace_authority(found.authority)
                commit()
                expiry.watch(found.credentials.ends)

            return both

        return in_thread(reactor, read_anew, new, path.credentials, time.time()).addCallback(ready)

    service = ProxyService(
        configuration=configuration,
        path=path,
        take_over=take_over,
        policies=policies,
        status=status,
        notifier=notifier,
        given=given.listeners,
    )
    ExpiryService(expiry).setServiceParent(service)
    _describe(status, policies, configuration, expiry)
    status.part("listeners", lambda: listener_rows(path.ports))
    status.part("connections", lambda: plane.admission.open)
    status.part("tunnels", lambda: len(plane.live.relays))
    status.part("refused", lambda: dict(plane.admission.refused))
    status.part("upstream_idle", lambda: len(plane.pool))
    status.part(
        "records",
        lambda: {"written": records.written, "dropped": records.dropped, "errors": records.errors},
    )
    _show_outputs(lambda: plane.configuration, status, plane.recording.metrics)
    status.part("parents", lambda: plane.ways.rows() if plane.ways is not None else [])
    _watch(plane.recording.metrics, policies, configuration, expiry)
    _keep_index(configuration, reactor, service, status, plane.recording.metrics)
    control = ControlSurface(
        configuration,
        reactor,
        policies=policies,
        ca_certificate=lambda: path.credentials.ca_certificate,
        ports=lambda: path.ports,
        doors=service,
    )
    site = AdminSite(status, service.reload, plane.recording.metrics, reactor=reactor, control=control.resource)
    site.pages.add_page(b"/pins", lambda: {"pins": plane.leaf_refusals.pins.rows()})
    switch = _add_switch(
        site, status, plane.recording.metrics, configuration, records, control, lambda on: succeed(path.intercept(on))
    )
    add_checks(
        status,
        plane.recording.metrics,
        listeners=lambda: listening([port for _, port in path.ports]),
        intercepts=lambda: switch.in_force,
        ca_ends=lambda: expiry.ends.get("ca"),
        now=time.time,
    )
    _serve_admin(configuration, site, control, reactor, given, service)
    _serve_manhole(
        configuration,
        reactor,
        given,
        service,
        policies=policies,
        settings=lambda: plane.configuration,
        scope=lambda: plane.scope,
        status=status.status,
        gather=lambda: None,
        connections=path.connections,
        reload=service.reload,
        replace=None,
        answers=control.answers,
        audit_reading=control.audit_reading,
    )
    return service


def _serve_manhole(
    configuration: Configuration, reactor: Any, given: GivenSockets, parent: MultiService, **parts: Any
) -> None:
    if configuration.manhole is None:
        return
    # Twisted's SSH is large, and nobody who has no manhole needs it, or the library that it stands on.
    try:
        from netfw.service.manhole_assembly import manhole_service
        from netfw.service.manhole_operations import ManholeOperations
    except ImportError as error:
        raise ConfigErrors(
            [Problem("manhole", f"needs a library that is missing: {error}; {_MANHOLE_HINT}")]
        ) from error

    operations = ManholeOperations(reactor=reactor, configuration=configuration, **parts)
    manhole_service(configuration, reactor, operations, given.manhole).setServiceParent(parent)


def _serve_admin(
    configuration: Configuration,
    site: AdminSite,
    control: ControlSurface,
    reactor: Any,
    given: GivenSockets,
    parent: MultiService,
) -> None:
    site.pages.add_page(b"/busiest", RecordFile(configuration.log, reactor).busiest_or_why)
    for part in control.services:
        part.setServiceParent(parent)
    for child in admin_services(
        configuration.admin, site, reactor, given_socket=given.admin_socket, given_port=given.admin_port
    ):
        child.setServiceParent(parent)


def _supervisor(configuration: Configuration, reactor: Any, notifier: Notifier, given: GivenSockets) -> IService:
    deadlines = Deadlines(reactor)
    status = ProcessStatus(name=configuration.proxy.name, now=time.time)
    authority = _authority(configuration)
    credentials = [read_credentials(configuration)]
    expiry = ExpiryWatch(deadlines, time.time, credentials[-1].ends)
    signer = _signer(authority, configuration)
    first = first_policy(configuration)
    inheritance = Inheritance(configuration, given.listeners, _first_ports(configuration, first))
    serials = iter(range(1, 1 << 62))

    def published(policy: CompiledPolicy) -> Published:
        return run_to_the_end(print_policy(policy, next(serials), time.time()))

    def distribute(policy: CompiledPolicy) -> Deferred[tuple[str, ...]]:
        # In slices: leaves are signed in between, and workers wait for them.
        printed = run_in_slices(reactor, print_policy(policy, next(serials), time.time()))
        return printed.addCallback(lambda ready: service.supervisor.publish(ready))

    def start_message(number: int) -> messages.Start:
        return messages.Start(
            worker=number,
            configuration=to_plain(inheritance.configuration),
            listeners=inheritance.places,
            files=inheritance.files,
        )

    needed = configuration.log.variables

    def spawn(number: int, owner: ChildOwner) -> Child:
        child = Child(number, owner, deadlines.seconds)
        child.spawn(reactor, worker_program(WORKER_MODULE, number, os.environ, needed), inheritance.descriptors(number))
        return child

    def read(new: Configuration) -> Deferred[Found]:
        return in_thread(reactor, copy_anew, new, credentials[-1], time.time(), inheritance.copies)

    def renewed(found: Found) -> None:
        if found.authority is not None and signer is not None:
            signer.replace_authority(found.authority)
        credentials[:] = [found.credentials]
        records.renew(found.credentials.records)
        expiry.watch(found.credentials.ends)

    policies = choose_policy_source(
        configuration, first, reactor, status, lambda result: service.reloaded(result), distribute
    )
    metrics = MergedMetrics(lambda: service.supervisor.families())
    records = build_outputs(
        configuration.log,
        metrics,
        credentials[-1].records,
        reactor=reactor,
        workers=configuration.workers,
        relays=True,
    )
    service = SupervisorService(
        configuration=configuration,
        reactor=reactor,
        deadlines=deadlines,
        now=time.time,
        inheritance=inheritance,
        policies=policies,
        records=records,
        metrics=metrics,
        status=status,
        notifier=notifier,
        read=read,
        renewed=renewed,
    )
    ExpiryService(expiry).setServiceParent(service)
    service.supervisor = supervisor = Supervisor(
        reactor=reactor,
        deadlines=deadlines,
        places=configuration.workers,
        spawn=spawn,
        start_message=start_message,
        first=published(policies.current),
        signer=signer,
        drain_seconds=configuration.timeouts.drain,
        changed=service.changed,
        printed=service.printed,
    )
    _describe(status, policies, configuration, expiry)
    status.part("listeners", lambda: listener_rows(inheritance.ports))
    status.part("connections", lambda: sum(figures.connections for figures in supervisor.living()))
    status.part("tunnels", lambda: sum(figures.tunnels for figures in supervisor.living()))
    status.part("refused", lambda: supervisor.tally.refused(supervisor.living()))
    status.part("upstream_idle", lambda: sum(figures.upstream_idle for figures in supervisor.living()))
    status.part("records", lambda: supervisor.tally.records(supervisor.living()))
    _show_outputs(lambda: service.configuration, status, metrics)
    status.part("workers", supervisor.rows)
    status.part("parents", lambda: supervisor.tally.parents(supervisor.living()))
    _watch(metrics, policies, configuration, expiry)
    _keep_index(configuration, reactor, service, status, metrics)
    metrics.watch("netfw_workers", lambda: supervisor.serving)
    metrics.watch("netfw_worker_restarts_total", lambda: supervisor.restarts)
    control = ControlSurface(
        configuration,
        reactor,
        policies=policies,
        ca_certificate=lambda: credentials[-1].ca_certificate,
        ports=lambda: inheritance.ports,
        doors=service,
    )
    site = AdminSite(status, service.reload, metrics, reactor=reactor, control=control.resource)
    site.pages.add_page(b"/pins", lambda: {"pins": supervisor.tally.pins(supervisor.living())})
    switch = _add_switch(site, status, metrics, configuration, records, control, supervisor.switch_interception)
    add_checks(
        status,
        metrics,
        listeners=lambda: workers_accept(supervisor.serving, configuration.workers, len(inheritance.ports)),
        intercepts=lambda: switch.in_force,
        ca_ends=lambda: expiry.ends.get("ca"),
        now=time.time,
    )
    site.resource = GatheringResource(site.resource, supervisor.gather)
    _serve_admin(configuration, site, control, reactor, given, service)
    _serve_manhole(
        configuration,
        reactor,
        given,
        service,
        policies=policies,
        settings=lambda: service.configuration,
        scope=lambda: InterceptionScope(service.configuration.tls_intercept, InForce(supervisor.intercepts)),
        status=status.status,
        gather=supervisor.gather,
        connections=supervisor.connections,
        reload=service.reload,
        replace=supervisor.replace,
        answers=control.answers,
        audit_reading=control.audit_reading,
    )
    return service


def _first_ports(configuration: Configuration, first: FirstPolicy) -> tuple[tuple[int, ...], ...]:
    """The ports that each listener begins with: those that a store asked for last."""
    return chosen_ports(configuration.listeners, first.asked.ports)


def _signer(authority: CertificateAuthority | None, configuration: Configuration) -> LeafSigner | None:
    """Who signs for workers."""
    if authority is None:
        return None
    return LeafSigner(authority, time.time, organization=configuration.tls_intercept.organization)


def _add_switch(
    site: AdminSite,
    status: ProcessStatus,
    metrics: Metrics,
    configuration: Configuration,
    records: IRecordSink,
    control: ControlSurface,
    apply: Callable[[bool], Deferred[None]],
) -> InterceptionSwitch:
    """Interception can be turned off and on, by command and by the store; status and metrics show how it stands."""
    switch = InterceptionSwitch(
        configured=configuration.tls_intercept.enabled,
        apply=apply,
        record=lambda line: records.write(line),
        audit=control.audit.write,
        proxy_name=configuration.proxy.name,
        now=time.time,
    )
    site.pages.add_switch(b"/intercept", switch.turn)
    control.follow(switch.turn)
    status.part("interception", switch.describe)
    metrics.watch("netfw_interception_in_force", lambda: int(switch.in_force))
    return switch


def _show_outputs(in_force: Callable[[], Configuration], status: ProcessStatus, metrics: Metrics) -> None:
    """A row for each output of records, all workers together."""

    def outputs() -> list[dict[str, Any]]:
        places = {output.name: output.shown for output in in_force().log.outputs}
        return output_rows(places, metrics.families())

    def deliveries() -> list[dict[str, Any]]:
        delivering = [output.name for output in in_force().log.outputs if output.delivery is not None]
        return delivery_rows(delivering, metrics.families()) if delivering else []

    status.part("outputs", outputs)
    status.part("deliveries", deliveries)


def _keep_index(
    configuration: Configuration, reactor: Any, parent: MultiService, status: ProcessStatus, metrics: Metrics
) -> None:
    """The index of records, and how long their files are kept, where the configuration asks for it."""
    log = configuration.log
    if log.retention is not None and any(output.path is not None for output in log.outputs):
        retaining = Retaining(log, reactor)
        retaining.setServiceParent(parent)
        retaining.watch(status)
    if log.index is None or log.readable is None:
        return
    indexing = Indexing(log.readable, log.index, reactor, is_journal=log.journal is not None)
    indexing.setServiceParent(parent)
    indexing.watch(status, metrics)


def _watch(metrics: Metrics, policies: PolicyInForce, configuration: Configuration, expiry: ExpiryWatch) -> None:
    """What only the process that holds the policy and the CA can say."""
    metrics.watch("netfw_policy_generation", lambda: policies.current.generation)
    if configuration.policy.store is not None:
        metrics.watch("netfw_store_reachable", lambda: int("store_away" not in policies.facts()))
    metrics.watch("netfw_ca_not_after_timestamp_seconds", lambda: expiry.ends.get("ca"))
    metrics.watch_each("netfw_certificate_days_left", expiry.days_left)
    metrics.loaded(policies.loaded_at)


def _describe(
    status: ProcessStatus, policies: PolicyInForce, configuration: Configuration, expiry: ExpiryWatch
) -> None:
    """What `/status` shows of any proxy, each asked when somebody looks."""
    status.part("generation", lambda: policies.current.generation)
    status.part("hostname", lambda: configuration.proxy.hostname)
    status.part("policy", lambda: policies.current.configuration.name)
    status.part("policy_loaded_at", lambda: int(policies.loaded_at))
    if configuration.policy.store is not None:
        status.part("policy_source", policies.facts)
    status.part("tls_intercept", lambda: "ENABLED" if configuration.tls_intercept.enabled else "DISABLED")
    if configuration.tls_intercept.enabled:
        status.part("ca_not_after", lambda: int(expiry.ends.get("ca", 0)))
