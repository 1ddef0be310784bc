"""`control` and the TLS of `admin`: defaults, bounds and mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netfw.config import defaults
from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.model import LocalUser


def test_without_a_word_nobody_signs_and_the_vendors_quotas_hold(write_config: Callable[..., Path]) -> None:
    """Only the Unix socket is open then."""
    control = load_config(write_config()).control
    assert control is not None
    assert (control.keys, control.quotas, control.region) == (None, defaults.QUOTAS, "us-east-2")


def test_everything_can_be_said(write_config: Callable[..., Path], tmp_path: Path) -> None:
    """Quotas one by one, sizes with units, none for no limit."""
    quotas = {"proxies": 3, "rule_groups": "none", "value_size": "2KiB"}
    written = {
        "keys": "k.json",
        "region": "eu-west-1",
        "account": "123456789012",
        "quotas": quotas,
        "rate": 0,
        "burst": 5,
    }
    control = load_config(write_config(control={**written, "audit": "audit.jsonl"})).control
    assert control is not None
    assert control.keys == tmp_path / "k.json"
    assert (control.quotas.proxies, control.quotas.rule_groups, control.quotas.value_size) == (3, None, 2048)
    assert control.quotas.configurations == 50
    assert (control.rate, control.burst, control.audit) == (0.0, 5, tmp_path / "audit.jsonl")


def test_the_vendors_profile_sets_them_all(write_config: Callable[..., Path]) -> None:
    """One proxy, five that share a configuration."""
    control = load_config(write_config(control={"quotas": "vendor"})).control
    assert control is not None
    assert control.quotas == defaults.VENDOR_QUOTAS
    assert (control.quotas.proxies, control.quotas.proxies_per_configuration) == (1, 5)


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"control": {"region": "mars"}}, "control.region"),
        ({"control": {"account": 123456789012}}, "control.account"),
        ({"control": {"quotas": {"proxies": -1}}}, "control.quotas.proxies"),
        ({"control": {"quotas": {"proxies": "many"}}}, "control.quotas.proxies"),
        ({"control": {"quotas": {"value_size": 0}}}, "control.quotas.value_size"),
        ({"control": {"quotas": {"prxies": 1}}}, "control.quotas.prxies"),
        ({"control": {"quotas": "all"}}, "control.quotas"),
        ({"control": {"rate": -1}}, "control.rate"),
        ({"control": {"audit": "no/where.jsonl"}}, "control.audit"),
        ({"admin": {"address": "192.0.2.1"}}, "admin.address"),
        ({"admin": {"address": "127.0.0.1", "certificate": "ca.pem"}}, "admin.private_key"),
        ({"admin": {"certificate": "ca.pem", "private_key": "ca.key"}}, "admin.certificate"),
        ({"admin": {"address": "127.0.0.1", "certificate": "no.pem", "private_key": "ca.key"}}, "admin.certificate"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    write_config: Callable[..., Path], sections: dict[str, Any], problem: str
) -> None:
    """Before anything starts."""
    with pytest.raises(ConfigErrors) as caught:
        load_config(write_config(**sections))
    assert problem in [found.path for found in caught.value.problems]


def test_keys_that_others_can_read_stop_the_start(write_config: Callable[..., Path], tmp_path: Path) -> None:
    """Whoever reads them is everybody in them."""
    (tmp_path / "keys.json").write_text('{"keys": []}')
    with pytest.raises(ConfigErrors, match="chmod 0600"):
        load_config(write_config(control={"keys": "keys.json"}))


def test_another_machine_reaches_it_over_tls_only(write_config: Callable[..., Path]) -> None:
    """With a certificate the address may be any."""
    admin = load_config(
        write_config(admin={"address": "192.0.2.1", "certificate": "ca.pem", "private_key": "ca.key"})
    ).admin
    assert (str(admin.address), admin.port) == ("192.0.2.1", 9901)


def test_users_of_this_machine_are_read(write_config: Any) -> None:
    """By name or number, as a viewer unless more is said."""
    entries = [
        {"user": "deploy", "roles": ["editor", "operator"], "rule_groups": ["payments-*"]},
        {"group": 1000, "decrypted": True},
    ]
    control = load_config(write_config(control={"local": entries})).control
    assert control is not None
    assert control.local == (
        LocalUser(user="deploy", roles=("editor", "operator"), rule_groups=("payments-*",)),
        LocalUser(group="1000", roles=("viewer",), decrypted=True),
    )


@pytest.mark.parametrize(
    ("entry", "path", "said"),
    [
        ({"roles": ["owner"]}, "control.local[0]", "a user or a group"),
        ({"user": "a", "group": "b"}, "control.local[0]", "not both"),
        ({"user": "a", "roles": ["king"]}, "control.local[0].roles[0]", "viewer, editor, operator, owner"),
        ({"user": "a", "roles": ["editor"]}, "control.local[0].rule_groups", "an editor needs"),
        ({"user": "a", "rule_groups": ["x"]}, "control.local[0].rule_groups", "no other role has them"),
        ({"user": "a", "roles": "editor", "rule_groups": ["a b"]}, "control.local[0].rule_groups[0]", "payments-*"),
        ({"user": "a", "decrypted": "yes"}, "control.local[0].decrypted", "neither true nor false"),
        ({"user": True}, "control.local[0].user", "not a text"),
        ({"user": "a", "right": 1}, "control.local[0].right", "unknown setting"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(write_config: Any, entry: dict[str, Any], path: str, said: str) -> None:
    """With its place."""
    with pytest.raises(ConfigErrors) as caught:
        load_config(write_config(control={"local": [entry]}))
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert said in found[path]
