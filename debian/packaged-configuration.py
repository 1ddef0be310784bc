"""Prints the configuration that the package installs: etc/proxy.yaml with the system's paths, and nothing intercepted.

Interception needs a CA, which is the operator's to make. A text that is not there any more fails the build.
"""

import re
import sys
from pathlib import Path

HOW_TO_RUN = "`twistd -n netfwproxy --config etc/proxy.yaml`"
CHANGES = (
    ("`netfw check etc/proxy.yaml`; run it with `make run`, or ", "`netfw check`, then "),
    (HOW_TO_RUN, "`systemctl restart netfw`; the man page is netfw-proxy.yaml(5)"),
    ("  mode: ENABLED                   # or DISABLED, the default: ", "  mode: DISABLED  # or ENABLED; as it is "),
    (
        "`netfw ca init` makes one;",
        "`runuser -u netfw -- netfw ca init` makes one;",
    ),
)
# Whatever a section of the file is about: records and audits, sockets, and everything else that is kept.
PLACES = (
    (r"\.\./var/log/", "/var/log/netfw/"),
    (r"\.\./var/(?=[a-z-]+\.sock\b)", "/run/netfw/"),
    (r"\.\./var/", "/var/lib/netfw/"),
)


def main() -> None:
    """Print it."""
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    for former, packaged in CHANGES:
        if former not in text:
            sys.exit(f"{sys.argv[1]} does not say {former!r} any more: change {__file__}")
        text = text.replace(former, packaged, 1)
    for former, packaged in PLACES:
        text = re.sub(former, packaged, text)
    if "../" in text:
        sys.exit(f"{sys.argv[1]} has another path that the package would need elsewhere: change {__file__}")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
