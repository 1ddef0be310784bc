"""The wiring of what is shipped."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from twisted.application.service import IService

from netfw.config.preflight import preflight
from netfw.service.assembly import assemble
from netfw.testing.fd_reactor import FdReactor
from netfw.x509.authority import create_root

ETC = Path(__file__).parents[2] / "etc"


def test_the_shipped_configuration(tmp_path):
    """etc/proxy.yaml with its policy and a CA made as `netfw ca init` would; nothing is bound by assembling it."""
    shutil.copytree(ETC, tmp_path / "etc")
    if not (tmp_path / "etc" / "policy.yaml").exists():
        pytest.skip("there is no etc/policy.yaml")
    authority = tmp_path / "var" / "ca"
    authority.mkdir(parents=True)
    (tmp_path / "var" / "log").mkdir()
    certificate, key = create_root("Test", datetime.now(UTC), 30)
    (authority / "ca.pem").write_bytes(certificate)
    (authority / "ca.key").write_bytes(key)
    (authority / "ca.key").chmod(0o600)
    configuration = preflight(tmp_path / "etc" / "proxy.yaml", time.time()).configuration
    reactor = FdReactor()
    service = assemble(configuration, reactor)
    assert IService.providedBy(service)
    assert service.plane.interception is not None
    assert service.plane.policies.current.generation == 1
    assert [listener.socket for listener in service.listeners] == [None]
    assert reactor.getReaders() == []
    assert reactor.getDelayedCalls() == []


def test_the_plane_follows_the_configuration(configured):
    """Limits and names arrive where they are used."""
    configuration = configured(limits={"head_size": "2KiB", "connections": 7}, deny={"style": "aws"})
    plane = assemble(configuration, FdReactor()).plane
    assert plane.head_limits.head_size == 2048
    assert plane.via == b"netfw-test"
    assert plane.configuration is configuration
    assert plane.interception is None
    assert not plane.scope.enabled
