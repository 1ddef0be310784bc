"""Who is at the other end of the admin socket: what the kernel says of the process that connected."""

from __future__ import annotations

import pwd
import socket
import struct
from typing import Any

from twisted.web.server import Request

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


def operator_of(request: Request) -> dict[str, Any]:
    """The process, and the user by number and name (Linux, SO_PEERCRED). Only for requests over a Unix socket."""
    handle: socket.socket = request.channel.transport.getHandle()
    packed = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _gid = _CREDENTIALS.unpack(packed)
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = ""
    return {"uid": uid, "user": user, "pid": pid}
