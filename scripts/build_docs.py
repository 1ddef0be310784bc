"""Builds the documentation as a web site: `make docs`.

The pages link to files of the whole tree; here they are gathered below one directory, links are bent accordingly, and
mkdocs builds them, strictly: a link to nothing fails. Manual pages come along as text.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
STAGE, SITE = TREE / "build/docs-pages", TREE / "build/docs"
SHOWN = ("etc/proxy.yaml", "etc/policy.yaml", "etc/policy-tests.yaml", "etc/prometheus-rules.yml", "CHANGELOG.md", "LICENSE")
"""Files outside docs/ that pages link to."""
NAVIGATION = {
    "Begin": ["quickstart", "concepts", "cookbook", "troubleshooting", "where-not", "migration"],
    "Rules": ["policy", "interception", "control-plane", "api"],
    "Clients": ["clients", "client-fleets", "ca", "listener-certificate"],
    "Operation": ["deployment", "operations", "records", "sizing", "performance"],
    "Trust": ["security", "privacy", "architecture"],
}
_LINK = re.compile(r"(?<=\]\()([^)#\s]+)(#[^)\s]*)?(?=\))")


def main() -> None:
    """Gather, and build."""
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(parents=True)
    pages = sorted((TREE / "docs").glob("*.md"))
    for page in pages:
        (STAGE / page.name).write_text(bent(page.read_text(), page.parent))
    for picture in (TREE / "docs").glob("*.svg"):
        shutil.copy(picture, STAGE)
    (STAGE / "index.md").write_text(bent((TREE / "README.md").read_text(), TREE))
    for name in SHOWN:
        source = TREE / name
        if source.suffix == ".md":
            (STAGE / source.name).write_text(source.read_text())
        else:
            (STAGE / f"{source.name}.md").write_text(f"# {name}\n\n```yaml\n{source.read_text()}```\n")
    (STAGE.parent / "mkdocs.yml").write_text(configuration([page.stem for page in pages]))
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", str(STAGE.parent / "mkdocs.yml")]
    if status := subprocess.run(command, check=False).returncode:
        sys.exit(status)
    print(f"{SITE.relative_to(TREE)}/index.html")


def bent(text: str, directory: Path) -> str:
    """The links of a page of this directory, as they are where the page is gathered."""

    def target(match: re.Match[str]) -> str:
        link, anchor = match[1], match[2] or ""
        if "://" in link or link.startswith("mailto:"):
            return match[0]
        file = (directory / link).resolve()
        if not file.exists():
            raise SystemExit(f"a link to nothing: {link}")
        if file.parent == TREE / "docs":
            return f"{file.name}{anchor}"
        name = str(file.relative_to(TREE))
        if name not in SHOWN:
            raise SystemExit(f"{name} is linked to, and is not among the files that are shown")
        return file.name if file.suffix == ".md" else f"{file.name}.md"

    return _LINK.sub(target, text)


def configuration(pages: list[str]) -> str:
    """mkdocs.yml. A page that the navigation forgets is an error."""
    named = [page for group in NAVIGATION.values() for page in group]
    if forgotten := sorted(set(pages) - set(named)):
        raise SystemExit(f"pages without a place in the navigation: {', '.join(forgotten)}")
    lines = ["site_name: netfw", f"docs_dir: {STAGE}", f"site_dir: {SITE}", "use_directory_urls: false"]
    # A theme that is whole in itself: the site asks no other one for fonts or scripts.
    lines += ["theme: {name: readthedocs, highlightjs: false, navigation_depth: 2}", "plugins: [search]", "markdown_extensions:"]
    lines += ["  - tables", "  - toc: {permalink: true}", "  - pymdownx.highlight: {noclasses: true}", "  - pymdownx.superfences"]
    lines += ["validation: {links: {not_found: warn, anchors: warn, unrecognized_links: warn}, nav: {omitted_files: ignore}}"]
    lines += ["nav:", "  - index.md"]
    for group, members in NAVIGATION.items():
        lines.append(f"  - {group}:")
        lines += [f"      - {member}.md" for member in members]
    lines += ["  - CHANGELOG.md"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
