"""Whether the files that a configuration names are there, readable and guarded.

In this room: existence and permissions. Nothing is opened for long and nothing is written. Not here: whether a
certificate belongs to its key and is still valid (`config.preflight`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from netfw.config.defaults import HOSTS_FILE
from netfw.config.delivery_model import DeliverySection
from netfw.config.errors import Problem
from netfw.config.model import Configuration, LogSection


def check_files(configuration: Configuration) -> list[Problem]:
    """Return what is wrong with the files and directories that the configuration names."""
    problems: list[Problem] = []

    def check(path: str, message: str | None) -> None:
        if message is not None:
            problems.append(Problem(path, message))

    for position, listener in enumerate(configuration.listeners):
        if listener.certificate is not None:
            check(f"listeners[{position}].certificate", unreadable(listener.certificate))
        if listener.private_key is not None:
            check(f"listeners[{position}].private_key", unreadable(listener.private_key))
        for key, path in (("client_ca", listener.client_ca), ("users", listener.users)):
            if path is not None:
                check(f"listeners[{position}].{key}", unreadable(path))
        for number, path in enumerate(listener.client_crl_files):
            index = "" if len(listener.client_crl_files) == 1 else f"[{number}]"
            check(f"listeners[{position}].client_crl_files{index}", unreadable(path))
    intercept = configuration.tls_intercept
    if intercept.enabled and intercept.ca_certificate is not None and intercept.ca_private_key is not None:
        hint = f"make a CA with `netfw ca init --config {configuration.path}`"
        check("tls_intercept.ca.certificate", unreadable(intercept.ca_certificate, hint))
        check("tls_intercept.ca.private_key", exposed(intercept.ca_private_key, hint))
        if intercept.ca_password_file is not None:
            check("tls_intercept.ca.password_file", exposed(intercept.ca_password_file, what="a password"))
    if configuration.policy.file is not None:
        check("policy.file", unreadable(configuration.policy.file))
    if configuration.policy.directory is not None:
        check("policy.directory", _no_directory(configuration.policy.directory, writable=False))
    if configuration.policy.password_file is not None:
        check("policy.password_file", exposed(configuration.policy.password_file, what="a password"))
    if configuration.policy.last_good is not None:
        check("policy.last_good", _no_directory(configuration.policy.last_good.parent, writable=True))
    # Without a word about it, a machine without /etc/hosts is one without names of its own.
    hosts_file = configuration.dns.hosts_file
    if hosts_file is not None and hosts_file != HOSTS_FILE:
        check("dns.hosts_file", unreadable(hosts_file))
    upstream = configuration.upstream
    for key, paths in (("trust", upstream.trust or ()), ("crl_files", upstream.crl_files)):
        for position, file in enumerate(paths):
            check(f"upstream.{key}" + ("" if len(paths) == 1 else f"[{position}]"), unreadable(file))
    for position, origin in enumerate(upstream.hosts):
        for number, root in enumerate(origin.roots):
            index = "" if len(origin.roots) == 1 else f"[{number}]"
            check(f"upstream.hosts[{position}].roots{index}", unreadable(root))
    for position, shown in enumerate(upstream.client_certificates):
        check(f"upstream.client_certificates[{position}].certificate", unreadable(shown.certificate))
        check(f"upstream.client_certificates[{position}].private_key", exposed(shown.private_key))
    for position, parent in enumerate(upstream.proxies):
        where = f"upstream.proxies[{position}]"
        if parent.credentials is not None:
            check(f"{where}.credentials", exposed(parent.credentials, what="a password"))
        for number, root in enumerate(parent.trust or ()):
            check(f"{where}.trust" + ("" if len(parent.trust or ()) == 1 else f"[{number}]"), unreadable(root))
        if parent.certificate is not None and parent.private_key is not None:
            check(f"{where}.certificate", unreadable(parent.certificate))
            check(f"{where}.private_key", exposed(parent.private_key))
    manhole = configuration.manhole
    if manhole is not None:
        for name, path in (
            ("authorized_keys", manhole.authorized_keys),
            ("read_only_keys", manhole.read_only_keys),
            ("decrypted_keys", manhole.decrypted_keys),
        ):
            if path is not None:
                check(f"manhole.{name}", unreadable(path))
        if manhole.socket is not None:
            check("manhole.socket", _no_directory(manhole.socket.parent, writable=True))
        if manhole.audit is not None:
            check("manhole.audit", _unwritable(manhole.audit))
        place = manhole.host_keys if manhole.host_keys.exists() else manhole.host_keys.parent
        check("manhole.host_keys", _no_directory(place, writable=True))
    check_log(configuration.log, check)
    if configuration.admin.certificate is not None:
        check("admin.certificate", unreadable(configuration.admin.certificate))
    if configuration.admin.private_key is not None:
        check("admin.private_key", exposed(configuration.admin.private_key))
    control = configuration.control
    if control is not None and control.keys is not None and control.keys.exists():
        check("control.keys", exposed(control.keys, what="a file of access keys"))
    if control is not None and control.audit is not None:
        check("control.audit", _unwritable(control.audit))
    if configuration.admin.socket is not None:
        check("admin.socket", _no_directory(configuration.admin.socket.parent, writable=True))
    return problems


def check_log(log: LogSection, check: Callable[[str, str | None], None]) -> None:
    """What outputs of records write, and what they prove themselves with."""
    for output in log.outputs:
        place = output.place
        if output.path is not None:
            check(f"{place}.path", _unwritable(output.path))
        if output.syslog is not None:
            for key in ("ca", "certificate"):
                path = getattr(output.syslog, key)
                if path is not None:
                    check(f"{place}.syslog.{key}", unreadable(path))
            if output.syslog.private_key is not None:
                check(f"{place}.syslog.private_key", exposed(output.syslog.private_key))
        if output.delivery is not None:
            check_delivery(output.delivery, place, check)
    if log.hash_key is not None:
        check("log.hash_key", exposed(log.hash_key, what="a key"))


def check_delivery(delivery: DeliverySection, place: str, check: Callable[[str, str | None], None]) -> None:
    """Where records wait for a server, and what the proxy proves itself with."""
    check(f"{place}.spool.path", _unusable_spool(delivery.spool.path))
    if delivery.aws is not None:
        kind = delivery.aws.service.value
        if delivery.aws.credentials is not None:
            check(f"{place}.{kind}.credentials", exposed(delivery.aws.credentials, what="a key"))
    posts = delivery.posts
    if posts is not None:
        kind = "http" if delivery.http is not None else "otlp"
        for key in ("ca", "certificate"):
            path = getattr(posts, key)
            if path is not None:
                check(f"{place}.{kind}.{key}", unreadable(path))
        if posts.private_key is not None:
            check(f"{place}.{kind}.private_key", exposed(posts.private_key))
        for name, source in posts.secrets.items():
            if source.file is not None:
                check(f"{place}.{kind}.headers.{name}.file", exposed(source.file, what="a secret"))


def unreadable(path: Path, hint: str = "") -> str | None:
    """Return why this file cannot be read, or None."""
    message = None
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                message = f"{path} is not a file"
    except FileNotFoundError:
        message = f"{path} does not exist"
    except IsADirectoryError:
        message = f"{path} is a directory"
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
    return f"{message}; {hint}" if message and hint else message


def exposed(path: Path, hint: str = "", *, what: str = "a private key") -> str | None:
    """Return why this secret file cannot be used: unreadable for us, or readable for its group or the world."""
    message = unreadable(path, hint)
    if message is not None:
        return message
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return f"{path} has mode {mode:04o}, {what} is its owner's alone; run: chmod 0600 {path}"
    return None


def _no_directory(path: Path, *, writable: bool) -> str | None:
    if not path.is_dir():
        return f"the directory {path} does not exist; run: mkdir -p {path}"
    if not os.access(path, os.X_OK | (os.W_OK if writable else os.R_OK)):
        return f"the directory {path} is not {'writable' if writable else 'readable'} for this user"
    return None


def _unusable_spool(path: Path) -> str | None:
    """It is made where there is none, and the directories above it as well."""
    if path.exists() and not path.is_dir():
        return f"{path} is not a directory; name one for the spool alone"
    there = path
    while not there.exists():
        there = there.parent
    return _no_directory(there, writable=True)


def _unwritable(path: Path) -> str | None:
    if path.is_dir():
        return f"{path} is a directory; name a file in it"
    if path.exists():
        return None if os.access(path, os.W_OK) else f"{path} is not writable for this user"
    return _no_directory(path.parent, writable=True)
