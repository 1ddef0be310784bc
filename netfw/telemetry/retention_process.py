"""The process that rotates record files and removes what is too old: `python -m netfw.telemetry.retention_process`.

Its first line of input has the rules of each file; it ends when its input does. It prints a line of JSON when a look
ended in an error, and when one did not after that. A process, since thinning out a large file in a thread would take
the interpreter from requests for each line.
"""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from netfw.telemetry.record_retention import Retention, Rules

_NICE = 10


def main() -> int:
    """Look at all files every so many seconds, until the input ends."""
    about = json.loads(sys.stdin.buffer.readline())
    with suppress(OSError):
        os.nice(_NICE)
    kept = [Retention(Path(one["path"]), _rules(one)) for one in about["files"]]
    error = "not looked yet"
    while True:
        problems = []
        for one in kept:
            try:
                one.step()
            except OSError as problem:
                problems.append(str(problem))
        if (now := "; ".join(problems)) != error:
            error = now
            sys.stdout.buffer.write(json.dumps({"error": error or None}).encode("ascii") + b"\n")
            sys.stdout.buffer.flush()
        if select.select([0], [], [], about["every"])[0] and not os.read(0, 4096):
            return 0


def _rules(one: dict[str, Any]) -> Rules:
    return Rules(one["rotate"], one["size"], one["total"], one["keep"], tuple(one["types"]))


if __name__ == "__main__":
    sys.exit(main())
