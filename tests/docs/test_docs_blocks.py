"""Every block of every page is run, loaded or checked by the program that it is for, by its class; there is no other.

| class | what it is | what holds |
| --- | --- | --- |
| `console`, and any with a title | a terminal, and the files that it works on | runs as printed: test_docs_pages |
| `sh` | for another machine: root's, a fleet's | bash reads it; our commands take it: test_docs_words |
| `yaml` | a configuration, a policy, its tests, an output, Prometheus' configuration | loaded by what reads it |
| `json` | a record, or a part of one | parsed |
| `ini` | access keys | read by what reads them |
| `nft`, `systemd` | a ruleset, a unit | `nft --check`, `systemd-analyze verify` |
| `output`, `diagram` | what a program prints or a drawing: for people | nothing |
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.cli.credentials import find_profile
from netfw.cli.test_policy import read_expectations
from netfw.config.load import load_config
from netfw.config.policy_files import read_policy_file
from netfw.testing.examples import Command, sections
from netfw.testing.page_text import Block, PageError, blocks, indented_code
from netfw.testing.proxy_process import merge

TREE = Path(__file__).parents[2]
PAGES = [*sorted((TREE / "docs").glob("*.md")), TREE / "README.md"]
LEAST = """
listeners:
  - {name: main, address: 127.0.0.1, port: 3128, proxy_protocol: {from: [10.0.9.0/24]}}
  - {name: build, address: 127.0.0.1, port: 3129}
tls_intercept: {ca: {certificate: ca.pem, private_key: ca.key}}
policy: {file: policy.yaml}
"""
GROUPS = """
ProxyConfiguration:
  ProxyConfigurationName: least
  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: DENY, PostRESPONSE: DENY}
"""


def ran(*command: str, stdin: str = "") -> None:
    """This program has nothing to say against it; skipped where it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def shell(block: Block, _: Path) -> None:
    """bash reads it, without running it."""
    ran("bash", "-n", stdin=block.text)


def yaml_document(block: Block, directory: Path) -> None:
    """Loaded by whatever it is for, which its keys tell."""
    for number, document in enumerate(yaml.safe_load_all(block.text)):
        assert document, "empty"
        file = directory / f"{number}.yaml"
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        if isinstance(document, list):
            entries(document, file)
        else:
            mapping(document, file)


def entries(document: list[Any], file: Path) -> None:
    """Rule groups, outputs of records, or tests of a policy."""
    if all("ProxyRuleGroupName" in each for each in document):
        names = [each["ProxyRuleGroupName"] for each in document]
        whole = merge(
            yaml.safe_load(GROUPS), {"ProxyConfiguration": {"RuleGroups": names}, "ProxyRuleGroups": document}
        )
        mapping(whole, file)
    elif all("name" in each for each in document):
        mapping({"log": {"outputs": document}}, file)
    else:
        assert len(read_expectations(file)) >= len(document)


def mapping(document: dict[str, Any], file: Path) -> None:
    """A policy, Prometheus' configuration, or (a part of) our own."""
    if "ProxyConfiguration" in document or "ProxyRuleGroups" in document:
        for name in re.findall(r"ConditionValuesFile': '(\S+)'", str(document)):
            (file.parent / name).write_text("example.net\n")
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        assert read_policy_file(file).name == document["ProxyConfiguration"]["ProxyConfigurationName"]
    elif "scrape_configs" in document:
        document["rule_files"] = [
            str(TREE / "etc" / Path(name).name) if name.startswith("/usr/share/netfw/") else name
            for name in document.get("rule_files", [])
        ]
        file.write_text(yaml.safe_dump(document))
        ran("promtool", "check", "config", str(file))
    elif "apiVersion" in document:
        kubernetes(document)
    else:
        least = yaml.safe_load(LEAST)
        if "policy" in document:
            del least["policy"]
        file.write_text(yaml.safe_dump(merge(least, document)))
        load_config(file, with_files=False)


def kubernetes(document: dict[str, Any]) -> None:
    """What every object has, and what a NetworkPolicy has besides (networking.k8s.io/v1)."""
    assert set(document) <= {"apiVersion", "kind", "metadata", "spec", "data"}
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])
    if document["kind"] == "NetworkPolicy":
        assert document["apiVersion"] == "networking.k8s.io/v1"
        assert set(document["spec"]) <= {"podSelector", "policyTypes", "ingress", "egress"}
        for rule in document["spec"]["egress"]:
            assert set(rule) <= {"to", "ports"}
            assert all(set(peer) <= {"podSelector", "namespaceSelector", "ipBlock"} for peer in rule.get("to", []))
            assert all(set(port) <= {"protocol", "port", "endPort"} for port in rule.get("ports", []))


def json_text(block: Block, _: Path) -> None:
    """One document, a part of an object, or an object a line."""
    text = block.text.strip()
    if text.startswith('"'):
        text = f"{{{text}}}"
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        assert isinstance(value, dict) and value
        at += len(text[at:]) - len(text[at:].lstrip())


def access_keys(block: Block, directory: Path) -> None:
    """Every profile is read as `netfw apply --profile` reads it."""
    file = directory / "credentials"
    file.write_text(block.text)
    file.chmod(0o600)
    parser = configparser.ConfigParser(inline_comment_prefixes=("#",))
    parser.read_string(block.text)
    for name in parser.sections():
        found = find_profile(name, {"NETFW_CREDENTIALS": str(file)})
        assert found.endpoint and found.access_key_id and found.secret_access_key


def ruleset(block: Block, directory: Path) -> None:
    """nft takes it."""
    if os.geteuid() != 0:
        pytest.skip("nft needs root")
    file = directory / "rules.nft"
    file.write_text(block.text)
    ran("unshare", "--net", "nft", "--check", "--file", str(file))


def unit(block: Block, directory: Path) -> None:
    """systemd takes it: a unit, or a drop-in for ours."""
    kind = "socket" if "[Socket]" in block.text else "service"
    for name in ("netfw.service", "netfw.socket"):
        text = (TREE / "debian" / name).read_text()
        (directory / name).write_text(re.sub(r"^(Exec\w+)=.*$", r"\1=/bin/true", text, flags=re.MULTILINE))
    if "[Install]" in block.text:
        (directory / f"netfw.{kind}").write_text(block.text)
    else:
        (directory / f"netfw.{kind}.d").mkdir()
        (directory / f"netfw.{kind}.d/ours.conf").write_text(block.text)
    ran("systemd-analyze", "--man=no", "verify", str(directory / f"netfw.{kind}"))


def for_people(block: Block, _: Path) -> None:
    """Nothing is typed there."""
    assert not any(line.startswith(("$ ", "# ")) for line in block.lines), (
        "a command: write it in a block of console or sh"
    )


def a_step(block: Block, _: Path) -> None:
    """Run with its page."""
    assert block.title or block.text.startswith("$ "), "a terminal begins with `$ `"


CHECKS: dict[str, Callable[[Block, Path], None]] = {
    "console": a_step,
    "sh": shell,
    "yaml": yaml_document,
    "json": json_text,
    "ini": access_keys,
    "nft": ruleset,
    "systemd": unit,
    "output": for_people,
    "diagram": for_people,
}
BLOCKS = [(page, block) for page in PAGES for block in blocks(page.read_text())]


@pytest.mark.parametrize(
    ("page", "block"), [pytest.param(*each, id=f"{each[0].stem}-{each[1].line}") for each in BLOCKS]
)
def test_blocks_are_what_their_class_says(page: Path, block: Block, tmp_path: Path) -> None:
    if block.title is not None and block.language != "yaml":
        return
    assert block.language in CHECKS, (
        f"{page.name}:{block.line}: class {block.language!r}; there are {', '.join(CHECKS)}"
    )
    CHECKS[block.language](block, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_code_is_without_a_fence(page: Path) -> None:
    assert indented_code(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_have_a_terminal(page: Path) -> None:
    """A file that no command could look at would be checked by nobody."""
    for steps in sections(page.read_text()):
        assert any(isinstance(step, Command) for step in steps), steps[0]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sh", "if true; then\n"),
        ("yaml", "limits: {conections: 5}\n"),
        ("yaml", "ProxyConfiguration: {ProxyConfigurationName: x, RuleGroups: [none]}\n"),
        ("yaml", "- GET https://example.com/: perhaps\n"),
        ("yaml", "- {name: x, sylog: {to: udp://192.0.2.1:514}}\n"),
        ("yaml", "scrape_configs: [{job: x}]\n"),
        ("json", '{"a": }'),
        ("ini", "[default]\nendpoint = https://egress.example\n"),
        ("nft", "table inet x { chain y { type filtre hook output priority 0; } }\n"),
        ("systemd", "[Socket]\nListenStream=nonsense address\n[Install]\nWantedBy=sockets.target\n"),
        ("output", "$ netfw status\n"),
        ("console", "netfw status\n"),
    ],
)
def test_what_is_wrong_is_found(language: str, text: str, tmp_path: Path) -> None:
    """The checks can fail."""
    block = Block(1, language, None, tuple(text.splitlines()))
    with pytest.raises(Exception):  # noqa: B017, PT011  # each check has an exception of its own
        CHECKS[language](block, tmp_path)


def test_a_fence_of_another_kind_is_refused() -> None:
    with pytest.raises(PageError, match="line 1"):
        blocks("~~~yaml\na: 1\n~~~\n")
