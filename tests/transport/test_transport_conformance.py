"""The transports of the data path keep one contract: ours, and Twisted's own."""

import socket

from twisted.internet.protocol import Factory

from netfw.testing.fd_reactor import turn_until
from netfw.testing.reactor_runs import private_descriptor_set, private_reactor
from netfw.testing.streams import Peer, Wire, stream_wire, tcp_pair
from netfw.testing.transport_conformance import TransportConformance


class TestStreamOverTcp(TransportConformance):
    """A Stream on a reactor driven by hand."""

    def open_wire(self, protocol):
        return stream_wire(protocol)


class TestStreamOverTcp6(TransportConformance):
    """The same over IPv6."""

    def open_wire(self, protocol):
        return stream_wire(protocol, pair=tcp_pair("::1"))


class TestStreamOverUnix(TransportConformance):
    """The same over a socketpair."""

    def open_wire(self, protocol):
        return stream_wire(protocol, pair=socket.socketpair())


class TestStreamOnEpoll(TransportConformance):
    """A Stream on Twisted's epoll reactor."""

    def open_wire(self, protocol):
        return stream_wire(protocol, private_reactor())


class TestStreamOnDescriptorSet(TransportConformance):
    """A Stream as it is served: watched by an epoll inside the reactor's."""

    def open_wire(self, protocol):
        return stream_wire(protocol, private_descriptor_set())


class TestTwistedTcp(TransportConformance):
    """Twisted's own TCP transport: the contract asks no more than protocols are used to."""

    declares_interface = False

    def open_wire(self, protocol):
        reactor = private_reactor()
        factory = Factory()
        factory.buildProtocol = lambda address: protocol
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        far = socket.create_connection(("127.0.0.1", port.getHost().port))
        turn_until(reactor.iterate, lambda: protocol.made)
        port.stopListening()
        return Wire(protocol.transport, protocol, Peer(far), reactor.iterate)
