"""What `make run` starts: makes what the configuration needs, says what to type, and becomes twistd.

Makes the directories of the log and of the admin socket, and a test CA where the configuration wants one that is not
there. In operation nothing of this is wanted: there `twistd netfwproxy` is started as it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from click.testing import CliRunner

from netfw.cli.main import netfw
from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.model import Configuration, ListenerType


def main() -> None:
    """Prepare, tell, and exec."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "etc/proxy.yaml")
    try:
        configuration = load_config(path, with_files=False)
    except ConfigErrors as errors:
        sys.exit(str(errors))
    prepare(configuration)
    tell(configuration)
    sys.stdout.flush()
    twistd = Path(sys.executable).with_name("twistd")
    # No pid file: it would stand in the way of a second proxy with another configuration.
    os.execv(twistd, [str(twistd), "-n", "--pidfile=", "netfwproxy", "--config", str(path)])


def prepare(configuration: Configuration) -> None:
    """Make the directories and the CA that are not there."""
    for file in (configuration.log.path, configuration.admin.socket):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    intercept = configuration.tls_intercept
    if not intercept.enabled or intercept.ca_certificate is None or intercept.ca_private_key is None:
        return
    if not intercept.ca_certificate.exists() and not intercept.ca_private_key.exists():
        made = CliRunner().invoke(netfw, ["ca", "init", "--config", str(configuration.path), "--name", "netfw test CA"])
        if made.exit_code != 0:
            sys.exit(made.output)
        print(f"Made a test CA: {shown(intercept.ca_certificate)}")


def tell(configuration: Configuration) -> None:
    """Print three lines to try: a plain request, an intercepted one, one that is denied."""
    listener = configuration.listeners[0]
    host = f"[{listener.address}]" if listener.address.version == 6 else str(listener.address)
    scheme = "https" if listener.type is ListenerType.HTTPS else "http"
    insecure = " --proxy-insecure" if listener.type is ListenerType.HTTPS else ""
    curl = f"curl -x {scheme}://{host}:{listener.port}{insecure}"
    certificate = configuration.tls_intercept.ca_certificate
    cacert = f" --cacert {shown(certificate)}" if configuration.tls_intercept.enabled and certificate else ""
    print("Try, in another terminal:")
    print(f"  {curl} http://example.com/")
    print(f"  {curl}{cacert} https://example.com/")
    print(f"  {curl} -i http://169.254.169.254/latest/meta-data/     (denied, and the answer says why)")
    if configuration.log.path is not None:
        print(f"Records: tail -f {shown(configuration.log.path)}")
    if configuration.admin.socket is not None or configuration.admin.address is not None:
        print(f"State:   {shown(Path(sys.executable).with_name('netfw'))} status --config {shown(configuration.path)}")
    print("Ctrl-C ends it.")


def shown(path: Path) -> str:
    """As one would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    main()
