"""Everything that a start needs, checked at once."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netfw.config.errors import ConfigErrors
from netfw.config.preflight import preflight
from netfw.x509.authority import create_root

Write = Callable[..., Path]
INTERCEPT = {"mode": "ENABLED", "ca": {"certificate": "ca.pem", "private_key": "ca.key"}}
HTTPS = {"name": "tls", "type": "HTTPS", "address": "127.0.0.1", "certificate": "ca.pem", "private_key": "ca.key"}


def problems_of(path: Path, now: float | None = None) -> list[str]:
    """Path and message of each."""
    with pytest.raises(ConfigErrors) as caught:
        preflight(path, time.time() if now is None else now)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_what_is_in_order_passes(write_config: Write) -> None:
    """Configuration and policy come back."""
    found = preflight(write_config(tls_intercept=INTERCEPT, listeners=[HTTPS]), time.time())
    assert (found.configuration.workers, found.policy.name) == (0, "test")


def test_problems_of_policy_ca_and_listener_are_told_together(write_config: Write, tmp_path: Path) -> None:
    """One run shows all of them."""
    path = write_config(tls_intercept=INTERCEPT, listeners=[HTTPS])
    (tmp_path / "policy.yaml").write_text("ProxyConfiguration: {}\n")
    other, _ = create_root("other", datetime.now(UTC), 30)
    (tmp_path / "ca.pem").write_bytes(other)
    text = "\n".join(problems_of(path))
    assert "DefaultRulePhaseActions" in text
    assert "listeners[0].certificate" in text
    assert "was not made for the key" in text
    assert "tls_intercept.ca: the private key does not belong" in text


def test_an_expired_ca_is_told(write_config: Write) -> None:
    """By the clock that was handed in."""
    path = write_config(tls_intercept=INTERCEPT)
    (message,) = problems_of(path, time.time() + 40 * 86400)
    assert message.startswith("tls_intercept.ca: ")


def test_a_listener_certificate_that_is_none_is_told(write_config: Write, tmp_path: Path) -> None:
    """And OpenSSL asks for no password on the terminal."""
    path = write_config(listeners=[HTTPS])
    (tmp_path / "ca.pem").write_text("hello")
    (message,) = problems_of(path)
    assert "are not a PEM certificate and its key" in message
