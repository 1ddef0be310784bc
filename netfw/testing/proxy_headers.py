"""PROXY headers as load balancers write them. For tests.

In here: both versions' bytes from what they should say, wrong things included. Not in here: reading them
(`transport.proxy_header`).
"""

from __future__ import annotations

from ipaddress import ip_address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def line(source: str, source_port: int = 40000, destination: str | None = None, destination_port: int = 3128) -> bytes:
    """Version 1."""
    version = ip_address(source).version
    other = destination or ("192.0.2.1" if version == 4 else "2001:db8::1")
    return f"PROXY TCP{version} {source} {other} {source_port} {destination_port}\r\n".encode("ascii")


def binary(
    source: str,
    source_port: int = 40000,
    destination: str | None = None,
    destination_port: int = 3128,
    *,
    extensions: bytes = b"",
) -> bytes:
    """Version 2 with the command PROXY."""
    one = ip_address(source)
    other = ip_address(destination or ("192.0.2.1" if one.version == 4 else "2001:db8::1"))
    ports = source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big")
    return raw(0x21, 0x11 if one.version == 4 else 0x21, one.packed + other.packed + ports + extensions)


def local() -> bytes:
    """Version 2 with the command LOCAL, as health checks have it."""
    return raw(0x20, 0x00, b"")


def raw(version_and_command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    """Any version 2 header; `length` may lie."""
    size = len(block) if length is None else length
    return SIGNATURE + bytes((version_and_command, family)) + size.to_bytes(2, "big") + block


def extension(kind: int, value: bytes) -> bytes:
    """One type, length and value."""
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def endpoint(vpce: str) -> bytes:
    """AWS's extension with the id of a VPC endpoint."""
    return extension(0xEA, b"\x01" + vpce.encode("ascii"))
