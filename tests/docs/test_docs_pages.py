"""The documentation does what it says: examples run as printed, settings and policies load, links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from netfw.config.load import load_config
from netfw.config.policy_files import read_policy_file
from netfw.testing import small_internet
from netfw.testing.examples import sections
from netfw.testing.proxy_process import merge

TREE = Path(__file__).parents[2]
PAGES = sorted((TREE / "docs").glob("*.md"))
WITH_EXAMPLES = [page for page in PAGES if sections(page.read_text())]
_BLOCK = re.compile(r"^```yaml(?: title=\"[^\"]+\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
LEAST = """
listeners:
  - {name: main, address: 127.0.0.1, port: 3128, proxy_protocol: {from: [10.0.9.0/24]}}
  - {name: build, address: 127.0.0.1, port: 3129}
tls_intercept: {ca: {certificate: ca.pem, private_key: ca.key}}
policy: {file: policy.yaml}
"""


INSTALLED = Path(sys.executable).with_name("netfw").exists()
"""Beside this Python, as it is for a reader. Debian's own runs the tests from the tree."""
NAMESPACES = os.geteuid() == 0 and shutil.which("unshare") is not None and shutil.which("ip") is not None


@pytest.mark.skipif(not INSTALLED, reason="netfw is not installed beside this Python")
@pytest.mark.skipif(not NAMESPACES, reason="network namespaces need root, unshare(1) and ip(8)")
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_examples_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """Every titled file and every terminal of the page, in a network where every site answers."""
    command = small_internet.command(sys.executable, "-m", "netfw.testing.examples", str(page))
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "steps as printed" in done.stdout


def test_there_are_examples() -> None:
    """The pages that teach by example have some; the cookbook has its twenty."""
    assert {"quickstart", "cookbook", "migration"} <= {page.stem for page in WITH_EXAMPLES}
    cookbook = (TREE / "docs/cookbook.md").read_text()
    assert len(sections(cookbook)) == cookbook.count("\n## ") >= 20


def documents() -> list[tuple[str, str]]:
    """Every YAML block of every page, with its place."""
    found = []
    for page in PAGES:
        text = page.read_text()
        found += [(f"{page.stem}-{text[: each.start()].count(chr(10)) + 1}", each[1]) for each in _BLOCK.finditer(text)]
    return found


@pytest.mark.parametrize(("place", "text"), [pytest.param(*each, id=each[0]) for each in documents()])
def test_yaml_is_what_it_looks_like(place: str, text: str, tmp_path: Path) -> None:
    """A policy has no mistake, a configuration or a part of one is accepted."""
    document = yaml.safe_load(text)
    if isinstance(document, list):
        assert all(isinstance(each, dict) for each in document), place
    elif "ProxyConfiguration" in document or "ProxyRuleGroups" in document:
        for name in re.findall(r"ConditionValuesFile: (\S+)", text):
            (tmp_path / name).write_text("example.net\n")
        (tmp_path / "policy.yaml").write_text(text)
        name = document["ProxyConfiguration"]["ProxyConfigurationName"]
        assert read_policy_file(tmp_path / "policy.yaml").name == name
    else:
        file = tmp_path / "proxy.yaml"
        least = yaml.safe_load(LEAST)
        if "policy" in document:
            del least["policy"]
        file.write_text(yaml.safe_dump(merge(least, document)))
        load_config(file, with_files=False)


@pytest.mark.parametrize("page", [*PAGES, TREE / "README.md"], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """To files that exist, and to headings that they have."""
    for link, anchor in _LINK.findall(page.read_text()):
        if "://" in link:
            continue
        target = page.parent / link if link else page
        assert target.exists(), link
        if anchor:
            assert anchor[1:] in headings(target), f"{link}{anchor}"


def headings(page: Path) -> set[str]:
    """The anchors of a page, as Markdown makes them of headings."""
    return {
        re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for line in page.read_text().splitlines()
        if line.startswith("#")
    }
