"""`netfw top`: what the running proxy does right now, on a screen that goes on until a key ends it.

Asks the admin socket (or loopback port) as `netfw status` does; with workers the figures are everybody's. Not here: the
figures (`top_figures`), and how they look (`top_screen`).
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from netfw.cli.admin_client import ask, ask_text
from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import print_json, screen
from netfw.cli.top_figures import Look, figures, read_samples
from netfw.cli.top_screen import screen_of

_QUIT = (b"q", b"Q", b"\x1b", b"\x03", b"\x04", b"")
_FOR_ALL = 1000
"""Lines enough for anything: what goes to a pipe is not cut."""


@click.command("top")
@click.option("--once", is_flag=True, help="Print one screen and end.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, metavar="SECONDS",
    help="How often to look.",
)  # fmt: skip
@config_option
@json_option
def top_command(config: Path | None, once: bool, interval: float, as_json: bool) -> None:
    """Watch the running proxy: requests and denials a second, tunnels, busiest clients and destinations, rules that
    deny, errors, workers.

    q, Escape or Ctrl-C ends it. Where standard output is no terminal, and with --once or --json, it looks twice, prints
    what happened in between, and ends.
    """
    before = _look(config)
    if as_json or once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        time.sleep(interval)
        seen = figures(before, _look(config))
        if as_json:
            print_json(seen)
        else:
            console = screen()
            console.print(screen_of(seen, console.width, console.height if console.is_terminal else _FOR_ALL, hint=""))
        return
    _watch(config, before, interval)


def _look(config: Path | None) -> Look:
    status = ask(config, "GET", "/status").document
    busiest = _busiest(ask(config, "GET", "/busiest").document)
    samples = read_samples(ask_text(config, "/metrics"))
    return Look(time.monotonic(), status, samples, busiest)


def _busiest(document: dict[str, Any]) -> dict[str, Any]:
    """What the port does not show is told, with the reason."""
    problems = document.get("problems")
    return {"records": 0, "why": "; ".join(map(str, problems))} if problems else document


def _watch(config: Path | None, before: Look, interval: float) -> None:
    console = Console(highlight=False)
    seen: Any = figures(before, before)
    # rich's own thread would draw while we ask; once for each look, and when the terminal has another size, is enough.
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False, transient=True) as live:
        due = time.monotonic() + min(interval, 1.0)
        while True:
            live.update(screen_of(seen, console.width, console.height), refresh=True)
            if _pressed(keys, min(max(due - time.monotonic(), 0.0), 0.25)) in _QUIT:
                return
            if time.monotonic() >= due:
                now = _look(config)
                seen, before = figures(before, now), now
                due = time.monotonic() + interval


def _pressed(keys: int, seconds: float) -> bytes | None:
    """The key that was pressed; None when none was in this time."""
    try:
        ready, _, _ = select.select([keys], [], [], seconds)
        return os.read(keys, 1) if ready else None
    except KeyboardInterrupt:
        return b"\x03"


@contextmanager
def _keys() -> Iterator[int]:
    """Standard input key by key, without an echo; as it was before, afterwards."""
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    tty.setcbreak(keys)
    try:
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
