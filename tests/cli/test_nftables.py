"""`netfw nftables`: what it prints, and that nft takes it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netfw.cli.main import netfw

NFT = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
WEB = "meta l4proto { tcp, udp } th dport { 80, 443 } counter reject with icmpx type admin-prohibited"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(netfw, ["nftables", *map(str, arguments)])


def rules(text: str) -> list[str]:
    """The rules of the chain, without its first line."""
    lines = [line.strip() for line in text.splitlines()]
    begin = next(number for number, line in enumerate(lines) if line.startswith("type filter hook"))
    return lines[begin + 1 : lines.index("}", begin)]


def test_a_machine_with_its_own_proxy() -> None:
    """Its user alone; loopback and what is inside are no way out."""
    result = run("distributed", "--inside", "10.0.0.0/8", "--inside", "fd00::/8")
    assert result.exit_code == 0
    assert "type filter hook output" in result.output
    assert rules(result.output) == [
        'oifname "lo" accept',
        "ip daddr 10.0.0.0/8 accept",
        "ip6 daddr fd00::/8 accept",
        "ct state established,related accept",
        'meta skuid "netfw" accept',
        WEB,
    ]


def test_a_router() -> None:
    """The proxies' addresses alone."""
    result = run("routed", "--proxy", "10.0.9.5", "--proxy", "10.0.9.6", "--proxy", "fd00::5", "--out", "wan0")
    assert rules(result.output) == [
        'oifname != "wan0" accept',
        "ct state established,related accept",
        "ip saddr { 10.0.9.5, 10.0.9.6 } accept",
        "ip6 saddr fd00::5 accept",
        WEB,
    ]


def test_everything_and_single_ports() -> None:
    """Everything is DNS too; neighbours are still found."""
    closed = rules(run("distributed", "--user", "105", "--everything").output)
    assert closed[-2:] == ["meta skuid 105 accept", "counter reject with icmpx type admin-prohibited"]
    assert any("nd-neighbor-solicit" in rule for rule in closed)
    assert "dport { 443, 8443 }" in rules(run("routed", "--proxy", "::1", "--port", 443, "--port", 8443).output)[-1]


def test_addresses_come_from_the_configuration(config: Path) -> None:
    """Those that it names; loopback is nobody's way out."""
    assert run("routed", "--config", config).exit_code == 2
    with open(config, "a") as file:
        file.write("egress: {source_addresses: [192.0.2.7], pools: [{name: a, addresses: [192.0.2.8, 192.0.2.7]}]}\n")
    assert "ip saddr { 192.0.2.7, 192.0.2.8 } accept" in rules(run("routed", "--config", config).output)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("routed", "--proxy", "10.0.0.0/8"), "is not an address"),
        (("routed", "--proxy", "a"), "is not an address"),
        (("distributed", "--inside", "10.0.0.1/8"), "host bits"),
        (("distributed", "--user", 'a" accept'), "no user name"),
        (("distributed", "--out", "eth0; drop"), "no name of an interface"),
        (("distributed", "--everything", "--port", "443"), "leave --port out"),
        (("distributed", "--port", "0"), "not in the range"),
    ],
)
def test_what_is_wrong_is_told(arguments: tuple[str, ...], told: str) -> None:
    """And nothing that is printed could be anything but what was meant."""
    result = run(*arguments)
    assert result.exit_code == 2 and told in result.output


@pytest.mark.skipif(NFT is None or os.geteuid() != 0, reason="program missing: nft, or not root")
@pytest.mark.parametrize(
    "arguments",
    [
        ("distributed", "--user", "0"),
        ("distributed", "--user", "root", "--user", "1", "--inside", "10.0.0.0/8", "--inside", "::1/128"),
        ("distributed", "--user", "0", "--everything", "--out", "eth0", "--out", "ppp*"),
        ("routed", "--proxy", "10.0.9.5", "--proxy", "fd00::5", "--inside", "10.0.0.0/8", "--inside", "10.1.0.0/16"),
        ("routed", "--proxy", "10.0.9.5", "--everything", "--out", "wan0"),
    ],
)
def test_nft_takes_it(arguments: tuple[str, ...]) -> None:
    """As it is, and checked only: nothing of this machine is touched."""
    assert NFT is not None
    text = run(*arguments).output
    done = subprocess.run([NFT, "-c", "-f", "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{text}"
