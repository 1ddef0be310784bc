"""The documentation does what it says: examples run as printed, links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from netfw.testing import small_internet
from netfw.testing.examples import sections

TREE = Path(__file__).parents[2]
PAGES = [*sorted((TREE / "docs").glob("*.md")), TREE / "README.md"]
WITH_EXAMPLES = [page for page in PAGES if sections(page.read_text())]
_LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")

INSTALLED = Path(sys.executable).with_name("netfw").exists()
"""Beside this Python, as it is for a reader. Debian's own runs the tests from the tree."""
NAMESPACES = os.geteuid() == 0 and shutil.which("unshare") is not None and shutil.which("ip") is not None


LONGEST = 400.0
"""Seconds for a page: some have thirty commands, on a machine that is busy with other tests."""


@pytest.mark.timeout(LONGEST + 20)
@pytest.mark.skipif(not INSTALLED, reason="netfw is not installed beside this Python")
@pytest.mark.skipif(not NAMESPACES, reason="network namespaces need root, unshare(1) and ip(8)")
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_examples_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """Every titled file and every terminal of the page, in a network where every site answers."""
    command = small_internet.command(sys.executable, "-m", "netfw.testing.examples", str(page))
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "steps as printed" in done.stdout


def test_every_page_has_a_place_in_the_navigation() -> None:
    """`make docs` builds all of them, with the pictures and the style sheet."""
    spec = spec_from_file_location("build_docs", TREE / "scripts/build_docs.py")
    assert spec is not None and spec.loader is not None
    builder = module_from_spec(spec)
    spec.loader.exec_module(builder)
    pages = [page.stem for page in PAGES if page.stem != "README"]
    settings = yaml.safe_load(builder.configuration(pages))
    assert len(settings["nav"]) == len(builder.NAVIGATION) + 2
    with pytest.raises(SystemExit, match="without a place in the navigation: new"):
        builder.configuration([*pages, "new"])
    assert "prefers-color-scheme: dark" in builder.colours() and ".highlight" in builder.colours()
    for page in PAGES:
        assert builder.bent(page.read_text(), page.parent)


@pytest.mark.parametrize("picture", sorted((TREE / "docs").glob("*.svg")), ids=lambda picture: picture.stem)
def test_pictures_are_shown_and_said(picture: Path) -> None:
    """Some page shows it, with words for who cannot see it; it needs no other site and is for the dark too."""
    shown = [line for page in PAGES for line in page.read_text().splitlines() if f"]({picture.name})" in line]
    assert shown and all(re.match(r"!\[[^\]]{10,}\]", line) for line in shown)
    drawn = ElementTree.parse(picture).getroot()
    assert all(drawn.findtext(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc"))
    assert "prefers-color-scheme: dark" in picture.read_text()
    assert re.findall(r"https?://[^\s\"]+", picture.read_text()) == ["http://www.w3.org/2000/svg"]


def test_there_are_examples() -> None:
    """The pages that teach by example have some; the cookbook has its twenty."""
    wanted = {"quickstart", "cookbook", "migration", "ca", "clients", "operations", "records", "README"}
    assert wanted <= {page.stem for page in WITH_EXAMPLES}
    cookbook = (TREE / "docs/cookbook.md").read_text()
    assert len(sections(cookbook)) == cookbook.count("\n## ") >= 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
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
