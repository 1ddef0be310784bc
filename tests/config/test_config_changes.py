"""Two configurations compared."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from netfw.config.changes import compare
from netfw.config.log_model import OutputSection
from netfw.config.model import Configuration
from netfw.testing.conversation import settings

OLD = settings()


def test_nothing():
    """The same is the same."""
    changes = compare(OLD, settings())
    assert (changes.taken, changes.waiting, changes.in_force) == ((), (), OLD)


@pytest.mark.parametrize(
    ("section", "members"),
    [
        ("limits", {"head_size": 2048, "connections": 7}),
        ("timeouts", {"idle": 1.5}),
        ("guard", {"allow_private": True}),
        ("deny", {"help_url": "https://x.example/"}),
        ("policy", {"file": Path("/other.yaml")}),
        ("dns", {"timeout": 1.0}),
        ("upstream", {"trust": None}),
        ("tls_intercept", {"bypass": ("x",)}),
        ("log", {"mask": ("x",), "hash_key": Path("/key")}),
    ],
)
def test_what_is_taken(section, members):
    """Named one by one, and in force."""
    new = replace(OLD, **{section: replace(getattr(OLD, section), **members)})
    changes = compare(OLD, new)
    assert set(changes.taken) == {f"{section}.{name}" for name in members}
    assert changes.waiting == ()
    assert changes.in_force == new


@pytest.mark.parametrize(
    ("section", "members"),
    [
        ("proxy", {"name": "other"}),
        ("log", {"outputs": (OutputSection("file", Path("/log")),)}),
        ("admin", {"port": 1}),
        ("tls_intercept", {"enabled": True, "ca_certificate": Path("/ca")}),
        ("limits", {"leaf_cache": 7}),
    ],
)
def test_what_waits(section, members):
    """Named one by one, and not in force."""
    new = replace(OLD, **{section: replace(getattr(OLD, section), **members)})
    changes = compare(OLD, new)
    assert set(changes.waiting) == {f"{section}.{name}" for name in members}
    assert changes.taken == ()
    assert changes.in_force == OLD


def test_some_of_each():
    """The one is taken although the other waits; comparing again still shows what waits."""
    new = replace(OLD, workers=3, limits=replace(OLD.limits, leaf_cache=9, head_fields=50))
    changes = compare(OLD, new)
    assert changes.taken == ("limits.head_fields",)
    assert set(changes.waiting) == {"workers", "limits.leaf_cache"}
    assert changes.in_force == replace(OLD, limits=replace(OLD.limits, head_fields=50))
    again = compare(changes.in_force, new)
    assert (again.taken, set(again.waiting)) == ((), set(changes.waiting))


def listeners(old: Configuration, **members) -> Configuration:
    return replace(old, listeners=(replace(old.listeners[0], **members),))


def test_listeners():
    """Who may come in is taken, and certificates, where it listens is not."""
    assert compare(OLD, listeners(OLD, clients=(ip_network("10.0.0.0/8"),))).taken == ("listeners[main].clients",)
    assert compare(OLD, listeners(OLD, port=1)).waiting == ("listeners[main].port",)
    assert compare(OLD, listeners(OLD, name="other")).waiting == ("listeners",)
    assert compare(OLD, replace(OLD, listeners=OLD.listeners * 2)).waiting == ("listeners",)
    certificate = {"certificate": Path("/c"), "private_key": Path("/k")}
    assert len(compare(OLD, listeners(OLD, **certificate)).taken) == 2
    proof = {"users": Path("/u"), "realm": "lab", "client_ca": Path("/ca"), "client_required": False}
    assert len(compare(OLD, listeners(OLD, **proof, client_crl_files=(Path("/crl"),))).taken) == 5
    many = replace(OLD, workers=2)
    assert len(compare(many, listeners(many, **certificate)).taken) == 2


def test_another_store_waits():
    """Following one begins with the process; so does leaving it for files."""
    stored = replace(OLD, policy=replace(OLD.policy, file=None, store="sqlite:////x", last_good=Path("/y")))
    for old, new in ((OLD, stored), (stored, OLD)):
        changes = compare(old, new)
        assert (changes.taken, changes.waiting, changes.in_force) == ((), ("policy",), old)
