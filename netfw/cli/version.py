"""`netfw version`: what runs here."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import click

from netfw import __version__
from netfw.cli.config_option import json_option
from netfw.cli.screen import print_facts, print_json
from netfw.http1 import reader

LIBRARIES = ("Twisted", "pyOpenSSL", "cryptography", "service-identity", "PyYAML", "click", "rich")


@click.command("version")
@json_option
def version_command(as_json: bool) -> None:
    """Print the versions of netfw and of what it stands on: put them into a bug report."""
    from cryptography.hazmat.backends.openssl import backend

    facts = [
        ("netfw", __version__),
        ("Python", platform.python_version()),
        ("data path", "compiled" if is_compiled() else "plain Python"),
        ("OpenSSL", backend.openssl_version_text()),
        *((library, _version(library)) for library in LIBRARIES),
    ]
    if as_json:
        print_json(dict(facts))
    else:
        print_facts("versions", facts)


def is_compiled() -> bool:
    """Whether the modules of the data path are the compiled ones (`NETFW_COMPILE=1` when it was built)."""
    return not str(reader.__file__).endswith(".py")


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
