"""Tells `twistd` about `twistd netfwproxy`.

Imports nothing of netfw: `twistd` loads every plugin to list their names, and a broken installation must not break
that.
"""

from twisted.application.service import ServiceMaker

netfwproxy = ServiceMaker(
    "netfw, an explicit egress proxy",
    "netfw.service.maker",
    "An explicit egress proxy that decides in three phases.",
    "netfwproxy",
)
