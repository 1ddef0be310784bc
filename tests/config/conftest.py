"""Configurations to be checked."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.x509.authority import create_root

POLICY = """\
ProxyConfiguration:
  ProxyConfigurationName: test
  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: DENY, PostRESPONSE: ALLOW}
  RuleGroups: []
"""


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes a valid proxy.yaml, these sections in place of its own (None: without), beside a policy and a CA."""

    def write(**sections: Any) -> Path:
        certificate, key = create_root("test", datetime.now(UTC), 30)
        (tmp_path / "ca.pem").write_bytes(certificate)
        descriptor = os.open(tmp_path / "ca.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        (tmp_path / "policy.yaml").write_text(POLICY)
        document: dict[str, Any] = {
            "listeners": [{"name": "main", "type": "HTTP", "address": "127.0.0.1", "port": 3128}],
            "policy": {"file": "policy.yaml"},
            **sections,
        }
        path = tmp_path / "proxy.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
        return path

    return write
