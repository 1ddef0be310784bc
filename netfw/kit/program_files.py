"""Programs that are told by a file of their own: Java's argument file, Maven's settings, apt's configuration."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from netfw.kit.setting import Setting, SettingError
from netfw.kit.variables import java_options, java_tool_options


def java_arguments(setting: Setting) -> str:
    """An argument file (`java @FILE`, from Java 9 on): an option a line, in quotes, with a backslash as escape."""
    store = setting.trust.store if setting.trust is not None else None
    options = java_options(setting.proxy, setting.no_proxy, store)
    return "".join('"' + re.sub(r'([\\"])', r"\\\1", option) + '"\n' for option in options)


def maven_settings(setting: Setting) -> str:
    """`settings.xml` with the proxy; trust is the JVM's, so it is named in a comment. Raises SettingError."""
    proxy = setting.proxy
    if proxy.scheme != "http":
        raise SettingError("Maven knows no https:// proxies: name an http:// listener")
    around = "|".join(setting.no_proxy)
    lines = ["<settings>", "  <proxies>"]
    for scheme in ("http", "https"):
        lines += [
            "    <proxy>",
            f"      <id>netfw-{scheme}</id>",
            "      <active>true</active>",
            f"      <protocol>{scheme}</protocol>",
            f"      <host>{escape(proxy.host)}</host>",
            f"      <port>{proxy.port}</port>",
            f"      <nonProxyHosts>{escape(around)}</nonProxyHosts>",
            "    </proxy>",
        ]
    lines += ["  </proxies>", "</settings>"]
    if setting.trust is not None:
        options = java_tool_options(java_options(proxy, (), setting.trust.store)[-3:])
        if "--" in options:
            raise SettingError("a comment of XML may not hold two hyphens, as the directory's name does")
        lines += ["<!-- Trust is the JVM's: MAVEN_OPTS gets", f"     {escape(options)} -->"]
    return "".join(f"{line}\n" for line in lines)


def apt_conf(setting: Setting) -> str:
    """A file for /etc/apt/apt.conf.d. Raises SettingError."""
    lines = [f'Acquire::{scheme}::Proxy "{setting.proxy.url}";' for scheme in ("http", "https")]
    for entry in setting.no_proxy:
        if ":" not in entry:  # a colon would begin another part of the option's name
            lines += [f'Acquire::{scheme}::Proxy::{entry} "DIRECT";' for scheme in ("http", "https")]
    if setting.trust is not None:
        if '"' in setting.trust.bundle:
            raise SettingError("apt cannot be told of a directory with a double quote in its name")
        lines.append(f'Acquire::https::CAInfo "{setting.trust.bundle}";')
    return "".join(f"{line}\n" for line in lines)
