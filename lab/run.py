"""Builds topologies and shows, for each, what passes and what cannot.

    python -m lab.run [--list] [NAME...]

Needs Linux and root. Everything happens in namespaces of this process's own: the machine's network is not touched, and
what was made is gone at the end. Exit status 0: all as it should be; 1: not so.
"""

from __future__ import annotations

import argparse
import inspect
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from lab.topologies import TOPOLOGIES
from lab.world import LabError, World
from netfw.testing.small_internet import NAMESPACES


class Printed:
    """The ledger, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.wrong = 0
        self.right = 0

    def passes(self, what: str, holds: bool, otherwise: object = "") -> None:
        """This has to work."""
        self._line("passes", what, holds, otherwise)

    def cannot(self, what: str, holds: bool, otherwise: object = "") -> None:
        """This has to fail."""
        self._line("cannot", what, holds, otherwise)

    def _line(self, kind: str, what: str, holds: bool, otherwise: object) -> None:
        self.right += holds
        self.wrong += not holds
        mark = "[green]ok[/green]   " if holds else "[red]WRONG[/red]"
        self._console.print(f"  {mark} {kind}  ", end="")
        self._console.print(
            what if holds else f"{what}\n        {otherwise}", markup=False, highlight=False, soft_wrap=True
        )


def show(name: str, console: Console) -> Printed:
    """Build one, ask, and take it down."""
    topology = TOPOLOGIES[name]
    ledger = Printed(console)
    console.print(f"\n[bold]{name}[/bold]: ", end="")
    console.print(inspect.getdoc(topology) or "", markup=False, highlight=False, soft_wrap=True)
    console.print()
    with tempfile.TemporaryDirectory(prefix=f"lab-{name}-") as directory:
        world = World(Path(directory))
        try:
            topology(world, ledger)
        except LabError as error:
            ledger.passes(f"the topology can be built: {error}", False)
        finally:
            world.close()
    return ledger


def main() -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(description="Show topologies in network namespaces: what passes, and what cannot.")
    parser.add_argument("--list", action="store_true", help="name them")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of them; all without")
    wanted = parser.parse_args()
    names = wanted.names or list(TOPOLOGIES)
    console = Console()
    if unknown := [name for name in names if name not in TOPOLOGIES]:
        parser.error(f"no topology {', '.join(unknown)}; there are {', '.join(TOPOLOGIES)}")
    if wanted.list:
        console.print("\n".join(TOPOLOGIES))
        return 0
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    if not wanted.inside or len(names) > 1:
        # Each in namespaces of its own: nothing of one is there for the next.
        ends = [
            subprocess.run([*NAMESPACES, sys.executable, "-m", "lab.run", "--inside", name], check=False).returncode
            for name in names
        ]
        console.print(f"\n{ends.count(0)} of {len(ends)} topologies as they should be")
        return int(any(ends))
    # `ip netns` keeps its names there.
    subprocess.run(["mount", "-t", "tmpfs", "lab", "/run"], check=True)
    ledger = show(names[0], console)
    return int(ledger.wrong > 0 or not ledger.right)


if __name__ == "__main__":
    sys.exit(main())
