"""What the control API says of the place where it is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from netfw.config.load import load_config
from netfw.service.control_assembly import NO_CONTROL, ControlSurface, ca_arn

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
