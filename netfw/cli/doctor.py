"""`netfw doctor`: whether this client can use the proxy, tool by tool, and whether there is a way round it.

In this room: the checks, and trying the tools. Not here: how a tool is tried and judged (`netfw.kit.probes`), what it
is told (`netfw.cli.env`).
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from cryptography import x509
from rich.table import Table
from rich.text import Text

from netfw.cli.config_option import json_option
from netfw.cli.doctor_bypass import Check, check_bypass, check_way
from netfw.cli.doctor_witness import Witness
from netfw.cli.env import fetch_page, find_setting, kit_options
from netfw.cli.screen import print_json, screen
from netfw.kit.probes import PROBES, Mark, Probe, Trial, Verdict, judge
from netfw.kit.setting import ProxyAddress, Setting, SettingError, proxy_from_url
from netfw.kit.trust_store import certificates_only
from netfw.kit.variables import VARIABLES, assignments
from netfw.x509.reading import certificates_from_pem, fingerprint, is_self_issued, not_after, not_before

CONNECT_SECONDS = 5.0
TOOL_SECONDS = 40.0
SOON_DAYS = 30
_VERSION = re.compile(r"\d+(?:\.\d+)+\S*")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A row of the second table."""

    name: str
    version: str
    proxy: str
    trust: str
    note: str


@click.command("doctor")
@kit_options
@click.option(
    "--direct", multiple=True, metavar="ADDRESS:PORT", help="Try to get there without the proxy: it should fail."
)
@click.option("--bypass", is_flag=True, help="Try to get to URL's host without the proxy: it should fail.")
@click.option(
    "--tool", "only", multiple=True, type=click.Choice([probe.name for probe in PROBES]), help="Only this tool."
)
@json_option
@click.argument("url", required=False)
def doctor_command(
    url: str | None, direct: tuple[str, ...], bypass: bool, only: tuple[str, ...], as_json: bool, **kit: Any
) -> None:
    """Find out whether this client can use the proxy: name, listener, CA, and each installed tool.

    \b
    netfw doctor --proxy http://egress:3128 --ca ca.pem https://example.com/
    netfw doctor --proxy http://egress:3128 --bypass https://example.com/
    netfw doctor --proxy http://egress:3128 --direct 203.0.113.9:443

    Tools open a tunnel to URL, which the proxy has to allow. Without one they ask for the proxy's own page, which says
    nothing of trust. Whether there is a way round the proxy is tried only where --direct or --bypass say: they send
    packets there. --bypass takes every address of the host, by TCP and by QUIC; `netfw nftables` prints rules that
    close such ways.

    Exit status 0: all in order. 1: something is not. 2: wrong usage.
    """
    target = urlsplit(url) if url is not None else None
    if target is not None and (target.scheme not in ("http", "https") or not target.hostname or "@" in target.netloc):
        raise click.BadParameter("must be http://HOST/... or https://HOST/...", param_hint="URL")
    ways = [_way(text) for text in direct]
    if bypass and target is None:
        raise click.UsageError("--bypass needs a URL whose host answers: netfw doctor --bypass https://example.com/")
    with tempfile.TemporaryDirectory(prefix="netfw-doctor-") as directory:
        setting = find_setting(**{**kit, "bundle_dir": kit["bundle_dir"] or directory})
        checks = list(_check_proxy(setting.proxy, setting))
        tools = []
        if all(check.state != "fail" for check in checks[:2]):
            wanted = [probe for probe in PROBES if not only or probe.name in only]
            tools = list(_try_tools(wanted, setting, url or f"http://{setting.proxy.authority}/", Path(directory)))
        found = [check_way(way) for way in ways]
        if bypass and target is not None:
            found += check_bypass(target.hostname or "", target.port or {"http": 80}.get(target.scheme, 443))
        checks += found or [Check("direct way out", "skip", "not tried: --direct ADDRESS:PORT, or --bypass with a URL")]
    failed = any(check.state == "fail" for check in checks)
    failed = failed or any(Mark.NO.value in (tool.proxy, tool.trust) for tool in tools)
    if as_json:
        document = {"checks": [asdict(check) for check in checks], "tools": [asdict(tool) for tool in tools]}
        print_json({"ok": not failed, "proxy": setting.proxy.url, **document})
    else:
        _print(setting.proxy, checks, tools)
    if failed:
        sys.exit(1)


def _check_proxy(proxy: ProxyAddress, setting: Setting) -> Iterator[Check]:
    """The first two say whether there is any use in going on."""
    try:
        found = sorted(
            {str(entry[4][0]) for entry in socket.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)}
        )
    except OSError as error:
        yield Check("name", "fail", f"{proxy.host} does not resolve: {error.strerror or error}")
        return
    yield Check("name", "ok", f"{proxy.host} is {', '.join(found)}")
    started = time.monotonic()
    try:
        socket.create_connection((proxy.host, proxy.port), CONNECT_SECONDS).close()
    except OSError as error:
        yield Check("reachable", "fail", f"no connection to {proxy.authority}: {_reason(error)}")
        return
    yield Check("reachable", "ok", f"{proxy.authority} in {(time.monotonic() - started) * 1000:.1f} ms")
    context = ssl.create_default_context(cafile=setting.trust.bundle if setting.trust is not None else None)
    if proxy.scheme == "https":
        yield _check_listener(proxy, context)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # judged above; here its pages are read
    try:
        status, content = fetch_page(proxy, "/", context)
        served_status, served = fetch_page(proxy, "/ca.pem", context)
    except (OSError, http.client.HTTPException) as error:
        yield Check("own page", "fail", f"no answer as the proxy would give it: {_reason(error)}")
        return
    is_ours = status == 200 and b"forward proxy" in content
    yield Check(
        "own page", "ok" if is_ours else "warn", "this is netfw" if is_ours else f"status {status}: another proxy?"
    )
    yield from _check_authority(setting, certificates_only(served) if served_status == 200 else b"")


def _check_listener(proxy: ProxyAddress, context: ssl.SSLContext) -> Check:
    try:
        with (
            socket.create_connection((proxy.host, proxy.port), CONNECT_SECONDS) as sock,
            context.wrap_socket(sock, server_hostname=proxy.host) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
    except OSError as error:
        return Check("listener certificate", "fail", _reason(error))
    state, left = _days(certificates_from_pem(ssl.DER_cert_to_PEM_cert(der).encode())[0])
    return Check("listener certificate", state, f"trusted, {left}")


def _check_authority(setting: Setting, served: bytes) -> Iterator[Check]:
    if setting.trust is None:
        if served:
            yield Check("CA", "fail", "the proxy intercepts, and no CA is set up: --ca FILE or --ca-fingerprint SHA256")
        else:
            yield Check("CA", "ok", "the proxy intercepts nothing")
        return
    try:
        held = certificates_from_pem(Path(setting.trust.authority).read_bytes())
        offered = certificates_from_pem(served)
    except ValueError as error:
        yield Check("CA", "fail", f"cannot be read: {error}")
        return
    for certificate in held:
        state, left = _days(certificate)
        weak = _weaknesses(certificate)
        if weak and state == "ok":
            state = "warn"
        yield Check("CA", state, ", ".join([certificate.subject.rfc4514_string(), left, *weak]))
    if not any(is_self_issued(certificate) for certificate in held):
        yield Check("CA root", "warn", "no certificate is a root: clients want the root that this one is signed by")
    if not served:
        yield Check("CA served", "warn", "the proxy serves none: it intercepts nothing")
    elif set(map(fingerprint, held)) & set(map(fingerprint, offered)):
        yield Check("CA served", "ok", "the same as /ca.pem")
    else:
        yield Check("CA served", "fail", f"another one is at /ca.pem: {', '.join(map(fingerprint, offered))}")


def _days(certificate: x509.Certificate) -> tuple[str, str]:
    now = datetime.now(UTC)
    left = (not_after(certificate) - now).days
    if now < not_before(certificate):
        return "fail", f"not valid before {not_before(certificate):%Y-%m-%d}"
    if now > not_after(certificate):
        return "fail", f"expired on {not_after(certificate):%Y-%m-%d}"
    return ("warn" if left < SOON_DAYS else "ok"), f"{left} days left"


def _weaknesses(certificate: x509.Certificate) -> list[str]:
    """What newer clients (Python from 3.13 on) refuse a CA for."""
    found = {extension.oid: extension.value for extension in certificate.extensions}
    constraints = found.get(x509.BasicConstraints.oid)
    usage = found.get(x509.KeyUsage.oid)
    problems = []
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        problems.append("not marked as a CA")
    if not isinstance(usage, x509.KeyUsage) or not usage.key_cert_sign:
        problems.append("no key usage to sign certificates")
    if x509.SubjectKeyIdentifier.oid not in found:
        problems.append("no key identifier")
    return problems


def _try_tools(probes: list[Probe], setting: Setting, url: str, directory: Path) -> Iterator[Tool]:
    # A proxy with TLS cannot be relayed to: the name in its certificate is not the relay's.
    if setting.proxy.scheme == "https":
        for probe in probes:
            yield _try_tool(probe, setting, None, url, directory)
        return
    with Witness((setting.proxy.host, setting.proxy.port)) as witness:
        told = Setting(ProxyAddress("http", "127.0.0.1", witness.port), (), setting.trust)
        for probe in probes:
            witness.forget()
            yield _try_tool(probe, told, witness, url, directory)


def _try_tool(probe: Probe, setting: Setting, witness: Witness | None, url: str, directory: Path) -> Tool:
    missing = [program for program in (probe.program, *probe.needs) if shutil.which(program) is None]
    untried = Mark.UNTRIED.value
    if missing:
        return Tool(probe.name, "", untried, untried, f"not installed: {missing[0]}")
    target = urlsplit(url)
    if target.scheme == "http" and not probe.plain:
        return Tool(probe.name, "", untried, untried, "tried with an https:// URL only")
    own = {variable.name for variable in VARIABLES}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    environment |= {**dict(assignments(setting)), "GIT_TERMINAL_PROMPT": "0"}
    script = directory / (probe.script_name or "none")
    if probe.script:
        script.write_text(probe.script)
    host = target.hostname or ""
    authority = f"[{host}]" if ":" in host else host
    authority += f":{target.port or (443 if target.scheme == 'https' else 80)}"
    places = {"url": url, "proxy": setting.proxy.authority, "authority": authority, "host": host, "script": str(script)}
    command = [argument.format(**places) for argument in probe.arguments]
    status, output = _run(command, environment, directory, probe.input.format(**places))
    asked, answered = witness.saw() if witness is not None else (False, None)
    trial = Trial(status, output, answered, asked, seen=witness is not None)
    verdict: Verdict = judge(probe, trial, tls=target.scheme == "https")
    _, told = _run([probe.program, probe.version], {"PATH": os.environ.get("PATH", "")}, directory)
    version = _VERSION.search(told)
    found = version[0].strip('",') if version else ""
    return Tool(probe.name, found, verdict.proxy.value, verdict.trust.value, verdict.note)


def _run(command: list[str], environment: dict[str, str], directory: Path, told: str = "") -> tuple[int | None, str]:
    try:
        done = subprocess.run(
            command, env=environment, cwd=directory, input=told.encode(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=TOOL_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None, ""
    except OSError as error:
        return 127, _reason(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _way(text: str) -> tuple[str, int]:
    try:
        way = proxy_from_url(text if re.search(r":[0-9]+$", text) else "")
    except SettingError:
        raise click.BadParameter(f"{text} is not ADDRESS:PORT", param_hint="--direct") from None
    return way.host, way.port


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _print(proxy: ProxyAddress, checks: list[Check], tools: list[Tool]) -> None:
    table = Table(title=Text(f"proxy {proxy.url}"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("check", "", ""):
        table.add_column(column, overflow="fold")
    for check in checks:
        table.add_row(Text(check.name), Text(check.state, style=_COLOURS[check.state]), Text(check.detail))
    screen().print(table)
    if not tools:
        return
    rows = Table(title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("tool", "version", "proxy", "trust", "note"):
        rows.add_column(column, overflow="fold")
    for tool in tools:
        marks = [Text(mark, style="red" if mark == Mark.NO.value else "") for mark in (tool.proxy, tool.trust)]
        rows.add_row(Text(tool.name), Text(tool.version), *marks, Text(tool.note))
    screen().print(rows)
