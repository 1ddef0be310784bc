"""What the control API says of the place where it is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from netfw.config.load import load_config
from netfw.service.control_assembly import NO_CONTROL, ControlSurface, ca_arn
from netfw.store.database import Database
from netfw.store.resources import StoredProxy

CONFIGURATION = """\
listeners: [{name: main, type: HTTP, address: 127.0.0.1, port: 3128}]
policy: {file: policy.yaml}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "proxy.yaml").write_text(CONFIGURATION)
    return tmp_path


def test_the_ca_is_named_as_it_is_now(directory: Path) -> None:
    """Also after a reload that took over another one, or that found none."""
    in_force: list[bytes | None] = [b"the first"]
    surface = ControlSurface(
        load_config(directory / "proxy.yaml", with_files=False),
        Clock(),
        policies=None,
        ca_certificate=lambda: in_force[-1],
        ports=lambda: [3128],
    )
    assert surface.site().ca_arn == ca_arn(NO_CONTROL, b"the first")
    in_force.append(b"the second")
    assert surface.site().ca_arn == ca_arn(NO_CONTROL, b"the second") != ca_arn(NO_CONTROL, b"the first")
    in_force.append(None)
    assert surface.site().ca_arn is None


def test_a_stored_proxy_is_shown_with_the_ca_in_force(directory: Path) -> None:
    """Not with the one that was in force when it was written down; others' and none are as they were."""
    url = f"sqlite:///{directory / 'policy.sqlite'}"
    place = directory / "proxy.yaml"
    document = CONFIGURATION.replace("{file: policy.yaml}", f'{{store: "{url}", last_good: last-good}}')
    place.write_text(f"proxy: {{name: ours}}\n{document}")
    surface = ControlSurface(
        load_config(place, with_files=False),
        Clock(),
        policies=None,
        ca_certificate=lambda: b"the second",
        ports=lambda: [3128],
    )
    former = ca_arn(NO_CONTROL, b"the first")
    database = Database.open(url)

    def shown(name: str, mode: str, arn: str | None) -> str | None:
        proxy = StoredProxy(name, f"arn:{name}", "c", tls_mode=mode, ca_arn=arn)
        return database.read(surface.site().observed, proxy).ca_arn

    assert shown("ours", "ENABLED", former) == ca_arn(NO_CONTROL, b"the second")
    assert shown("theirs", "ENABLED", former) == former
    assert shown("ours", "DISABLED", None) is None
    database.close()
