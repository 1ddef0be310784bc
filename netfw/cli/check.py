"""`netfw check`: what a start would say, without starting."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from netfw.cli.check_ways import way_facts
from netfw.cli.config_option import config_option, find_config, json_option
from netfw.cli.policy_option import read_configured
from netfw.cli.screen import complain, print_facts, print_json, problems_as_data
from netfw.config.errors import ConfigErrors
from netfw.config.listener_ports import shown_ports
from netfw.config.log_model import RECORD_TYPES, LogSection
from netfw.config.model import Configuration, ListenerSection
from netfw.config.preflight import Preflight, preflight, read_authority
from netfw.policy.model import Phase
from netfw.proxy.credentials import check_credentials
from netfw.x509.reading import not_after


@click.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@config_option
@json_option
def check_command(file: Path | None, config: Path | None, as_json: bool) -> None:
    """Check the configuration and the rules as a start would.

    Reads FILE (or --config FILE), the rules, the CA and the certificates it names, and prints every problem with its
    place and its fix. Nothing is started, bound or changed.

    \b
    Exit status 0: a start would work. 1: it would not. For example, before a reload:
      netfw check /etc/netfw/proxy.yaml && netfw reload
    """
    now = time.time()
    try:
        found = preflight(find_config(file or config).absolute(), now, read_configured)
        check_credentials(found.configuration)
    except ConfigErrors as errors:
        if as_json:
            print_json({"ok": False, "problems": problems_as_data(errors.problems)})
        else:
            complain(errors)
        sys.exit(1)
    facts = _facts(found, now)
    if as_json:
        print_json({"ok": True, "problems": [], "summary": dict(facts)})
    else:
        print_facts("in order", facts)


def _facts(found: Preflight, now: float) -> list[tuple[str, str]]:
    configuration, policy = found.configuration, found.policy
    rules = ", ".join(f"{sum(1 for _ in policy.rules(phase))} {phase.value}" for phase in Phase)
    defaults = ", ".join(f"{phase.value} {policy.defaults[phase].value}" for phase in Phase)
    listeners = [
        (f"listener {listener.name}", f"{listener.type.value} on {listener.address} port {_port(listener)}")
        for listener in configuration.listeners
    ]
    return [
        ("configuration", str(configuration.path)),
        *listeners,
        ("interception", _interception(configuration, now)),
        *way_facts(configuration, policy),
        ("policy", f"{policy.name}, from {_source(configuration)}"),
        ("rule groups", ", ".join(group.name for group in policy.groups) or "none"),
        ("rules", rules),
        ("default actions", defaults),
        ("records", ", ".join(output.shown for output in configuration.log.outputs)),
        ("retention", _retention(configuration.log)),
        ("admin", _admin(configuration)),
    ]


def _port(listener: ListenerSection) -> str:
    if not listener.from_store:
        return str(listener.port or "any")
    return f"{listener.port}, or what the store says of {shown_ports(listener.from_store)}"


def _source(configuration: Configuration) -> str:
    section = configuration.policy
    return str(section.store or section.file or section.directory)


def _retention(log: LogSection) -> str:
    if all(output.path is None for output in log.outputs):
        return "no files"
    retention = log.retention
    if retention is None:
        return "none: somebody else rotates and removes the files"
    times = {kind: seconds for kind in RECORD_TYPES if (seconds := retention.of(kind)) is not None}
    return ", ".join(f"{kind} {seconds / 86400:g} days" for kind, seconds in times.items()) or "for ever"


def _interception(configuration: Configuration, now: float) -> str:
    if not configuration.tls_intercept.enabled:
        return "off: tunnels are judged by name and address only"
    authority = read_authority(configuration, now).certificate
    bypassed = len(configuration.tls_intercept.bypass)
    ca = f"{authority.subject.rfc4514_string()}, valid until {not_after(authority):%Y-%m-%d}"
    return f"on, {bypassed} bypassed; CA {ca}"


def _admin(configuration: Configuration) -> str:
    admin = configuration.admin
    places = []
    if admin.socket is not None:
        places.append(str(admin.socket))
    if admin.address is not None:
        places.append(f"{admin.address} port {admin.port or 'any'}")
    return ", ".join(places) or "none"
