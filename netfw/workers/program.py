"""How a worker process is run: this Python, netfw's own module, and an environment of a few known names.

Not here: its descriptors (`sockets`, `child`) and what it does (`service.worker_process`).
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import netfw
from netfw.workers.child import Program

# What changes how Python, OpenSSL or the C library behave, so that a worker behaves as one process did.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF")


def worker_program(module: str, number: int, environment: Mapping[str, str], needed: Iterable[str] = ()) -> Program:
    """Run this module as worker `number`, found where this process found netfw. `needed`: more variables that the
    configuration asks for; `NAME*` stands for all that begin so.
    """
    kept = {name: value for name, value in environment.items() if name in _KEPT or _is_needed(name, needed)}
    places = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
    root = str(Path(netfw.__file__).resolve().parents[1])
    if root not in places and root not in site.getsitepackages() and root != site.getusersitepackages():
        # A checkout, which twistd found in its working directory: a worker looks there for nothing.
        places.insert(0, root)
    if places:
        kept["PYTHONPATH"] = os.pathsep.join(places)
    # -P: never look for modules in the working directory, which may be anybody's.
    return Program(sys.executable, (sys.executable, "-P", "-m", module, str(number)), kept)


def _is_needed(name: str, needed: Iterable[str]) -> bool:
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in needed)
