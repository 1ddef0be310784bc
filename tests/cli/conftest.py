"""A configuration on which verbs are tried."""

from pathlib import Path

import pytest

POLICY = """\
ProxyConfiguration:
  ProxyConfigurationName: test
  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: DENY, PostRESPONSE: ALLOW}
  RuleGroups: []
"""
CONFIGURATION = """\
listeners: [{name: main, type: HTTP, address: 127.0.0.1, port: 3128}]
tls_intercept: {mode: ENABLED, ca: {certificate: ca/ca.pem, private_key: ca/ca.key}}
policy: {file: policy.yaml}
admin: {socket: admin.sock}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """proxy.yaml with interception, whose CA is not made yet."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "proxy.yaml").write_text(CONFIGURATION)
    return tmp_path / "proxy.yaml"
