"""Where the configuration is when nobody says."""

from __future__ import annotations

from pathlib import Path

from netfw.config.errors import ConfigErrors, Problem

PLACES = (Path("/etc/netfw/proxy.yaml"), Path("etc/proxy.yaml"))


def find_config(named: Path | str | None) -> Path:
    """Return the file that was named, else the first of the usual places. Raises ConfigErrors when there is none."""
    if named is not None:
        return Path(named)
    for place in PLACES:
        if place.is_file():
            return place
    places = " nor ".join(str(place) for place in PLACES)
    raise ConfigErrors([Problem("", f"no configuration: there is neither {places}; name one with --config FILE")])
