"""What a worker's environment has: a few known names, and what the configuration asks for."""

from __future__ import annotations

from netfw.workers.program import worker_program

ENVIRONMENT = {"PATH": "/bin", "HOME": "/h", "AWS_REGION": "r", "AWS_PROFILE": "p", "SIEM_KEY": "k", "OTHER": "o"}


def test_only_what_is_needed_goes_along() -> None:
    """A name, or all that begin so."""
    plain = worker_program("m", 1, ENVIRONMENT).environment
    assert {"PATH", "HOME"} <= set(plain) and not set(plain) & {"AWS_REGION", "SIEM_KEY", "OTHER"}
    more = worker_program("m", 1, ENVIRONMENT, ("AWS_*", "SIEM_KEY")).environment
    assert set(more) - set(plain) == {"AWS_REGION", "AWS_PROFILE", "SIEM_KEY"}
    assert more["SIEM_KEY"] == "k"
