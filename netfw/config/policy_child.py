"""`python -m netfw.config.policy_child file|directory PATH`: read and check a policy, print it as lines.

A process of its own, because reading 100,000 rules takes seconds: in the proxy's process, in a thread as well, that
would stall every connection. Exit status 0 and the lines of `policy_lines`, or 1 and a JSON list of problems.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from netfw.config.errors import ConfigErrors
from netfw.config.model import PolicySection
from netfw.config.policy_files import read_policy
from netfw.config.policy_lines import print_policy


def main(arguments: list[str]) -> int:
    """Print what the arguments name."""
    kind, path = arguments
    section = PolicySection(
        file=Path(path) if kind == "file" else None, directory=Path(path) if kind == "directory" else None
    )
    out = sys.stdout.buffer
    try:
        policy = read_policy(section)
    except ConfigErrors as errors:
        out.write(json.dumps([str(problem) for problem in errors.problems]).encode("ascii") + b"\n")
        return 1
    for line in print_policy(policy):
        out.write(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
