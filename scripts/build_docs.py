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

import yaml
from pygments.formatters import HtmlFormatter

TREE = Path(__file__).resolve().parents[1]
STAGE, SITE = TREE / "build/docs-pages", TREE / "build/docs"
SHOWN = (
    "etc/proxy.yaml", "etc/policy.yaml", "etc/policy-tests.yaml", "etc/prometheus-rules.yml", "CHANGELOG.md", "LICENSE",
)  # fmt: skip
"""Files outside docs/ that pages link to."""
NAVIGATION = {
    "Begin": ["quickstart", "concepts", "cookbook", "troubleshooting", "where-not", "migration"],
    "Rules": ["policy", "interception", "control-plane", "api"],
    "Clients": ["clients", "client-fleets", "ca", "listener-certificate"],
    "Operation": ["deployment", "egress", "operations", "records", "log-pipelines", "sizing", "performance"],
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
    (STAGE / "site.css").write_text((TREE / "docs/site.css").read_text() + colours())
    (STAGE / "index.md").write_text(bent((TREE / "README.md").read_text(), TREE))
    for name in SHOWN:
        source = TREE / name
        if source.suffix == ".md":
            (STAGE / source.name).write_text(source.read_text())
        else:
            (STAGE / f"{source.name}.md").write_text(f"# {name}\n\n```yaml\n{source.read_text()}```\n")
    file = STAGE.parent / "mkdocs.yml"
    file.write_text(configuration([page.stem for page in pages]))
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", str(file)]
    if status := subprocess.run(command, check=False).returncode:
        sys.exit(status)
    print(f"{SITE.relative_to(TREE)}/index.html")


def colours() -> str:
    """The style sheet of code: one for paper, one for the dark."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    # The ground is the site's own.
    rules = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    return re.sub(r"(?m)^\.highlight \{ background[^}]*\}$", "", rules)


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
    groups = [{group: [f"{member}.md" for member in members]} for group, members in NAVIGATION.items()]
    broken = dict.fromkeys(("not_found", "anchors", "unrecognized_links"), "warn")
    settings = {
        "site_name": "netfw",
        "docs_dir": str(STAGE),
        "site_dir": str(SITE),
        "use_directory_urls": False,
        # A theme that is whole in itself: the site asks no other one for fonts or scripts.
        "theme": {"name": "readthedocs", "highlightjs": False, "navigation_depth": 2},
        "extra_css": ["site.css"],
        "plugins": ["search"],
        "markdown_extensions": [
            "tables", {"toc": {"permalink": True}}, "pymdownx.highlight", "pymdownx.superfences",
        ],
        "validation": {"links": broken, "nav": {"omitted_files": "ignore"}},
        "nav": ["index.md", *groups, "CHANGELOG.md"],
    }  # fmt: skip
    return yaml.safe_dump(settings, sort_keys=False)


if __name__ == "__main__":
    main()
