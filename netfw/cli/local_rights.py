"""What somebody who reads records by command may see of them: `control.local`, by the number of their user.

The files' permissions are the boundary: whoever may read the record file can do so without this command. So this keeps
honest people from seeing what is not theirs to see, and everybody who is to be kept out has no right to the file; they
ask the proxy over its socket, which masks for them. Not here: the entries (`control.local_users`).
"""

from __future__ import annotations

import os

from netfw.config.model import Configuration
from netfw.control.local_users import ROOT, LocalUsers
from netfw.control.roles import Caller


def reader(configuration: Configuration) -> Caller:
    """Who runs this command. The owner of the record file is the user whose the proxy is."""
    path, control = configuration.log.readable, configuration.control
    try:
        owner = ROOT if path is None else path.stat().st_uid
    except OSError:
        owner = ROOT
    users = LocalUsers(() if control is None else control.local, lambda: owner)
    return users.caller(os.getuid(), os.getgid(), f"command, uid {os.getuid()}, pid {os.getpid()}")


def sees_decrypted(configuration: Configuration) -> bool:
    """Whether they may see what only decryption shows."""
    return reader(configuration).decrypted
