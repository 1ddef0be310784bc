"""The option and the argument by which verbs find the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from netfw.config.places import find_config

Function = TypeVar("Function", bound=Callable[..., Any])

_HELP = "The configuration. Default: /etc/netfw/proxy.yaml, else etc/proxy.yaml."


def config_option(function: Function) -> Function:
    """Add `--config FILE`; the function gets `config: Path | None`, which `find_config` takes."""
    return click.option("--config", "-c", type=click.Path(path_type=Path), metavar="FILE", help=_HELP)(function)


def json_option(function: Function) -> Function:
    """Add `--json`; the function gets `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


__all__ = ["config_option", "find_config", "json_option"]
