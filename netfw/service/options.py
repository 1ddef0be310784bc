"""What `twistd netfwproxy` takes on its command line.

In this room: finding the configuration and checking it before anything is bound, daemonised or written, so that a bad
one never starts half a proxy. Not here: building the service (`service.maker`, `service.assembly`).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from twisted.python import usage

from netfw import __version__
from netfw.config.errors import ConfigErrors
from netfw.config.model import Configuration
from netfw.config.places import find_config
from netfw.config.preflight import preflight

_HELP = """\
Starts the proxy that FILE describes. Without --config it is /etc/netfw/proxy.yaml, else etc/proxy.yaml.

Try it in the foreground, and stop it with Ctrl-C:
  twistd -n netfwproxy --config etc/proxy.yaml

In the background, with a pid file and a log:
  twistd --pidfile /run/netfw/netfw.pid --logfile /var/log/netfw/twistd.log netfwproxy --config /etc/netfw/proxy.yaml

Reload rules and certificates without dropping a connection: netfw reload, or kill -HUP PID.
Stop after what is running has ended: kill PID. At once: kill it a second time.

Everything about the configuration is checked before the start; `netfw check FILE` does only that.
`netfw --help` lists what else can be asked. The options of twistd itself (-n, --pidfile, --logfile, --uid) go before
the word netfwproxy.
"""


class Options(usage.Options):
    """The options of `twistd netfwproxy`; afterwards `configuration` holds what was loaded."""

    synopsis = "[--config FILE]"
    longdesc = _HELP
    optParameters = [["config", "c", None, "The configuration, a YAML or .json file.", Path]]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.yaml")})

    configuration: Configuration

    def getUsage(self, width: int | None = None) -> str:
        """As twisted makes it, with our text's own lines: twisted would wrap the examples into one paragraph."""
        self.longdesc = ""
        try:
            return f"{super().getUsage(width)}\n{_HELP}"
        finally:
            self.longdesc = _HELP

    def opt_version(self) -> None:
        """Print netfw's version and leave."""
        print(f"netfw {__version__}")  # noqa: T201 - this is what the option is for
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Load and check the configuration; raise UsageError, which twistd prints and leaves with status 1."""
        # A UsageError's text is printed after our name and before nothing else; see twisted.application.app.run.
        try:
            path = find_config(self["config"])
            # Twisted changes to / when it daemonises: from here on the path is absolute.
            self["config"] = path.absolute()
            self.configuration = preflight(self["config"], time.time()).configuration
        except ConfigErrors as errors:
            raise usage.UsageError(str(errors)) from None
        if self.configuration.log.path is None and not self._in_foreground():
            raise usage.UsageError(
                "log: stdout is lost in the background; start with twistd -n, or write log: {path: FILE}"
            )

    def _in_foreground(self) -> bool:
        parent = getattr(self, "parent", None)
        return parent is None or bool(parent.get("nodaemon")) or os.name != "posix"
