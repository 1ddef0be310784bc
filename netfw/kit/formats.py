"""The variables written down for a shell, a pipeline, a container or a program that has a file of its own.

In this room: `FORMATS`, a printer for each, and quoting. Not here: which variables there are (`variables`), Maven's
and apt's own files (`program_files`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from netfw.kit.program_files import apt_conf, java_arguments, maven_settings
from netfw.kit.setting import Setting
from netfw.kit.variables import VARIABLES, assignments

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
CONTAINER_DIRECTORY = "/etc/netfw-client"
"""Where the files of trust are inside a container that `dockerfile` or `k8s` describes."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Format:
    """`unset` prints the way back; where a format has none, `way_back` says in words how it is done."""

    name: str
    use: str
    write: Callable[[Setting], str]
    unset: Callable[[], str] | None
    way_back: str = ""
    in_container: bool = False


def quote_sh(text: str) -> str:
    """As POSIX shells read it back."""
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def quote_fish(text: str) -> str:
    """In fish a backslash and a quote are escaped even within single quotes."""
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_powershell(text: str) -> str:
    """A quote is doubled; the typographic ones end a string as well."""
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text) + "'"


def quote_dotenv(text: str) -> str:
    """Bare where that is enough, for readers that know no quotes (docker --env-file is one)."""
    if _PLAIN.fullmatch(text):
        return text
    if "'" not in text and "\\" not in text:
        return f"'{text}'"
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


def quote_dockerfile(text: str) -> str:
    """In double quotes, where a dollar sign would name a variable of the build."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def quote_yaml(text: str) -> str:
    """Single-quoted: a number stays a text, and nothing is an escape."""
    return "'" + text.replace("'", "''") + "'"


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _names() -> list[str]:
    return [variable.name for variable in VARIABLES]


def _sh(setting: Setting) -> str:
    return _lines([f"export {name}={quote_sh(value)}" for name, value in assignments(setting)])


def _fish(setting: Setting) -> str:
    return _lines([f"set -gx {name} {quote_fish(value)}" for name, value in assignments(setting)])


def _powershell(setting: Setting) -> str:
    # Environment variables have no case on Windows: the later spelling of a name would only repeat the earlier.
    return _lines([f"$Env:{name} = {quote_powershell(value)}" for name, value in assignments(setting)])


def _dotenv(setting: Setting) -> str:
    return _lines([f"{name}={quote_dotenv(value)}" for name, value in assignments(setting)])


def _github(setting: Setting) -> str:
    # Values are whole lines and are not quoted. None has a line feed: `TrustFiles` refuses them.
    return _lines([f"{name}={value}" for name, value in assignments(setting)])


def _gitlab(setting: Setting) -> str:
    # $ would name another variable of the pipeline; $$ stands for itself.
    pairs = [(name, value.replace("$", "$$")) for name, value in assignments(setting)]
    return _lines(["variables:", *(f"  {name}: {quote_yaml(value)}" for name, value in pairs)])


def _dockerfile(setting: Setting) -> str:
    lines = []
    if setting.trust is not None:
        lines += [
            "# The files are written into the directory that --bundle-dir names: name the one of this Dockerfile.",
            "COPY netfw-ca.pem netfw-bundle.pem netfw-trust.p12 netfw-wgetrc " + CONTAINER_DIRECTORY + "/",
        ]
    pairs = [f"{name}={quote_dockerfile(value)}" for name, value in assignments(setting)]
    return _lines(lines) + "ENV " + " \\\n    ".join(pairs) + "\n"


def _k8s(setting: Setting) -> str:
    lines = []
    if setting.trust is not None:
        lines += [
            "# Merge into a pod template. The files of --bundle-dir go into a config map first:",
            "#   kubectl create configmap netfw-client --from-file=netfw-ca.pem --from-file=netfw-bundle.pem \\",
            "#     --from-file=netfw-trust.p12 --from-file=netfw-wgetrc",
        ]
    lines += ["spec:", "  containers:", "    - name: CONTAINER", "      env:"]
    for name, value in assignments(setting):
        # $(NAME) would name another variable; $$ stands for itself.
        lines += [f"        - name: {name}", f"          value: {quote_yaml(value.replace('$(', '$$('))}"]
    if setting.trust is not None:
        lines += [
            "      volumeMounts:",
            "        - name: netfw-client",
            f"          mountPath: {CONTAINER_DIRECTORY}",
            "          readOnly: true",
            "  volumes:",
            "    - name: netfw-client",
            "      configMap:",
            "        name: netfw-client",
        ]
    return _lines(lines)


def _unset_sh() -> str:
    return _lines([f"unset {name}" for name in _names()])


def _unset_fish() -> str:
    return _lines([f"set -e {name}" for name in _names()])


def _unset_powershell() -> str:
    return _lines([f"Remove-Item Env:{name} -ErrorAction SilentlyContinue" for name in _names()])


FORMATS = {
    found.name: found
    for found in (
        Format("sh", 'eval "$(netfw env)"', _sh, _unset_sh),
        Format("fish", "netfw env --format fish | source", _fish, _unset_fish),
        Format(
            "powershell",
            "netfw env --format powershell | Out-String | Invoke-Expression",
            _powershell,
            _unset_powershell,
        ),
        Format("dotenv", "netfw env --format dotenv > .env", _dotenv, None, "remove the lines from the file"),
        Format(
            "dockerfile",
            "netfw env --format dockerfile --bundle-dir . >> Dockerfile",
            _dockerfile,
            None,
            "remove the lines from the Dockerfile",
            in_container=True,
        ),
        Format(
            "github",
            'netfw env --format github >> "$GITHUB_ENV"',
            _github,
            None,
            "nothing leaves GITHUB_ENV again: do it in a job of its own",
        ),
        Format("gitlab", "netfw env --format gitlab >> .gitlab-ci.yml", _gitlab, None, "remove the variables"),
        Format(
            "k8s", "netfw env --format k8s", _k8s, None, "remove what was merged into the template", in_container=True
        ),
        Format(
            "java",
            "netfw env --format java > netfw.args; java @netfw.args ...",
            java_arguments,
            None,
            "leave @FILE out",
        ),
        Format("maven", "netfw env --format maven > ~/.m2/settings.xml", maven_settings, None, "remove its proxies"),
        Format("apt", "netfw env --format apt > /etc/apt/apt.conf.d/90netfw", apt_conf, None, "remove the file"),
    )
}
