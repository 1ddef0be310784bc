"""What `twistd netfwproxy` takes on its command line.

In this room: finding the configuration and checking it before anything is bound, daemonised or written, so that a bad
one never starts half a proxy. Not here: building the service (`service.maker`, `service.assembly`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from twisted.python import usage

from netfw import __version__
from netfw.config.errors import ConfigErrors
from netfw.config.model import Configuration
from netfw.config.places import find_config
from netfw.config.preflight import preflight
from netfw.policy.model import PolicyConfiguration
from netfw.proxy.credentials import check_credentials
from netfw.service.first_policy import first_policy

_HELP = """\
Starts the proxy that FILE describes. Without --config it is /etc/netfw/proxy.yaml, else etc/proxy.yaml.

Try it in the foreground, and stop it with Ctrl-C:
  twistd -n netfwproxy --config etc/proxy.yaml

In the background, with a pid file and a log:
  twistd --pidfile /run/netfw/netfw.pid --logfile /var/log/netfw/twistd.log netfwproxy --config /etc/netfw/proxy.yaml

Read configuration and rules again without dropping a connection: netfw reload, or kill -HUP PID.
Stop, with some time for what is running to end (timeouts: drain): kill PID.

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

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """As twisted does, but a wrong option is status 1 with every Twisted: 22.4 prints help and leaves with 0."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            _refuse(f"{error}; see twistd netfwproxy --help")

    def postOptions(self) -> None:
        """Load and check the configuration; what is wrong goes to standard error, and the status is 1."""
        try:
            # twistd changes to / when it goes into the background: from here on all paths are absolute.
            self["config"] = find_config(self["config"]).absolute()
            self.configuration = preflight(self["config"], time.time(), _policy).configuration
            check_credentials(self.configuration)
        except ConfigErrors as errors:
            _refuse(str(errors))
        if self.configuration.log.uses_stdout and not self._in_foreground():
            _refuse("log: stdout is lost in the background; start with twistd -n, or write log: {path: FILE}")

    def _in_foreground(self) -> bool:
        parent = getattr(self, "parent", None)
        return parent is None or bool(parent.get("nodaemon")) or os.name != "posix"


def _policy(configuration: Configuration) -> PolicyConfiguration:
    return first_policy(configuration).policy


def _refuse(message: str) -> NoReturn:
    print(f"twistd netfwproxy: {message}", file=sys.stderr)  # noqa: T201 - twistd's log is not there yet
    raise SystemExit(1)
