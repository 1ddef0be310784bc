"""Two configurations compared."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from netfw.config.changes import compare
from netfw.config.delivery_model import DeliverySection, HttpSection, SecretSource, SpoolSection
from netfw.config.log_model import OutputSection, SyslogSection, SyslogTransport
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


def with_outputs(*outputs: OutputSection, workers: int = 0) -> Configuration:
    return replace(OLD, workers=workers, log=replace(OLD.log, outputs=outputs))


FILE = OutputSection("file", path=Path("/r"), place="log")
SPOOL = SpoolSection(Path("/s"))
SIEM = OutputSection("siem", delivery=DeliverySection(SPOOL, http=HttpSection("https://a.test")), place="outputs[0]")
SYSLOG = OutputSection("loghost", syslog=SyslogSection(SyslogTransport.UDP, "h", 514), place="log.outputs[1]")
STDOUT = OutputSection("stdout")


def names(changes: Any) -> tuple[list[str], list[str], list[str]]:
    """Taken, waiting, and the outputs in force."""
    return [*changes.taken], [*changes.waiting], [output.name for output in changes.in_force.log.outputs]


def test_servers_that_records_go_to_come_and_go():
    other = replace(SIEM, delivery=DeliverySection(SPOOL, http=HttpSection("https://b.test")), types=("deny",))
    old = with_outputs(FILE, SIEM)
    assert names(compare(with_outputs(FILE), old)) == (["log.outputs[siem]"], [], ["file", "siem"])
    assert names(compare(old, with_outputs(FILE))) == (["log.outputs[siem]"], [], ["file"])
    changes = compare(old, with_outputs(FILE, SYSLOG, other))
    assert names(changes) == (["log.outputs[loghost]", "log.outputs[siem]"], [], ["file", "loghost", "siem"])
    assert changes.in_force.log.outputs[2] == other
    # Where it stands in the file is no change.
    assert compare(old, with_outputs(FILE, replace(SIEM, place="log.outputs[7]"))).taken == ()


def test_files_and_standard_output_wait_for_a_restart():
    """The index, the retention and workers' standard output begin with them."""
    old = with_outputs(FILE, SIEM)
    assert names(compare(old, with_outputs(replace(FILE, path=Path("/q")), SIEM))) == (
        [], ["log.outputs[file]"], ["file", "siem"],
    )  # fmt: skip
    assert names(compare(old, with_outputs(FILE, SIEM, STDOUT))) == ([], ["log.outputs[stdout]"], ["file", "siem"])
    assert names(compare(old, with_outputs(SIEM))) == ([], ["log.outputs[file]"], ["siem", "file"])
    assert names(compare(old, with_outputs(FILE, replace(STDOUT, name="siem")))) == (
        [], ["log.outputs[siem]"], ["file", "siem"],
    )  # fmt: skip
    changes = compare(old, with_outputs(replace(FILE, queue=7), SYSLOG))
    assert names(changes) == (
        ["log.outputs[loghost]", "log.outputs[siem]"], ["log.outputs[file]"], ["file", "loghost"],
    )  # fmt: skip
    assert changes.in_force.log.outputs[0] == FILE
    again = compare(changes.in_force, with_outputs(replace(FILE, queue=7), SYSLOG))
    assert names(again) == ([], ["log.outputs[file]"], ["file", "loghost"])


def test_records_never_go_nowhere():
    """The only output is a server, and the file that is to follow it waits."""
    assert names(compare(with_outputs(SIEM), with_outputs(FILE))) == ([], ["log.outputs"], ["siem"])


def test_running_workers_have_no_variables_but_those_that_they_began_with():
    secret = HttpSection("https://a.test", secrets={"Authorization": SecretSource(variable="TOKEN")})
    wanted = replace(SIEM, delivery=DeliverySection(SPOOL, http=secret))
    assert compare(with_outputs(FILE), with_outputs(FILE, wanted)).taken == ("log.outputs[siem]",)
    many = with_outputs(FILE, workers=2)
    assert names(compare(many, with_outputs(FILE, wanted, workers=2))) == ([], ["log.outputs[siem]"], ["file"])
    assert compare(with_outputs(FILE, wanted, workers=2), with_outputs(FILE, SIEM, workers=2)).waiting == ()


def test_another_store_waits():
    """Following one begins with the process; so does leaving it for files."""
    stored = replace(OLD, policy=replace(OLD.policy, file=None, store="sqlite:////x", last_good=Path("/y")))
    for old, new in ((OLD, stored), (stored, OLD)):
        changes = compare(old, new)
        assert (changes.taken, changes.waiting, changes.in_force) == ((), ("policy",), old)
