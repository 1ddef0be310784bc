"""Addresses and options of a connected socket."""

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from netfw.testing.fd_reactor import FdReactor
from netfw.testing.streams import Recorder, stream_wire
from netfw.transport.socket_facts import as_address


def test_addresses():
    """Tuples of the socket module become Twisted's addresses; what nobody asked in time is unspecified."""
    assert as_address(("10.0.0.1", 80)) == IPv4Address("TCP", "10.0.0.1", 80)
    assert as_address(("fe80::1", 80, 0, 2)) == IPv6Address("TCP", "fe80::1", 80, 0, 2)
    assert isinstance(as_address(""), UNIXAddress)
    wire = stream_wire(Recorder())
    wire.transport.abortConnection()
    assert wire.transport.getHost() == IPv4Address("TCP", "0.0.0.0", 0)


def test_addresses_outlive_the_socket():
    """Once asked for, they are known for good."""
    wire = stream_wire(Recorder(), FdReactor())
    known = wire.transport.getPeer(), wire.transport.getHost()
    wire.transport.abortConnection()
    assert known == (wire.transport.getPeer(), wire.transport.getHost())


def test_options():
    """The two options of ITCPTransport can be set and read."""
    transport = stream_wire(Recorder(), FdReactor()).transport
    for enabled in (True, False):
        transport.setTcpNoDelay(enabled)
        transport.setTcpKeepAlive(enabled)
        assert (transport.getTcpNoDelay(), transport.getTcpKeepAlive()) == (enabled, enabled)
