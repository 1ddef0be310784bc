"""Every seam between rooms, as a zope Interface. Each has a real implementation and a verified fake in
`netfw.testing`.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface


class IResolver(Interface):
    """Names to addresses."""

    def known(host):
        """The `Resolution` that needs nobody to be asked, or None; raises `errors.NameNotFound` for a name known to be
        missing.
        """

    def resolve(host):
        """Return a Deferred of `netfw.transport.resolution.Resolution` for a `names.host.Host` that is a name.

        Fails with `errors.NameNotFound`, `DnsFailure` or `DnsTimeout`. Cancelling it withdraws this caller; the lookup
        itself stops when its last caller has gone.
        """


class IDialer(Interface):
    """TCP connections to addresses that were judged; never to names."""

    def dial(addresses, port, sources=None):
        """Return a connected, not yet started `transport.stream.Stream`, or a Deferred of it.

        `addresses` are `ipaddress` objects, tried as RFC 8305 says and in the order given; nothing else is ever
        dialled. `sources` maps a version of IP (4, 6) to the local address, as text, that a connection of it leaves
        from; a version that is not there is not dialled. Raises or fails with `errors.OriginRefused`,
        `OriginUnroutable` or `OriginConnectTimeout`. Cancelling it aborts every attempt under way.
        """


class IByteTransport(Interface):
    """What protocols of the data path may ask of a transport: Stream, TlsStream and Twisted's own offer it.

    A streaming producer registered with it is paused when more than 64 KiB wait to be sent.
    """

    def write(data):
        """Send bytes, at once where the kernel takes them; the rest is kept and sent in order."""

    def writeSequence(parts):
        """Send the parts as one write."""

    def loseConnection():
        """Send what is waiting, then close."""

    def abortConnection():
        """Close at once; what is waiting is dropped and the peer sees a reset."""

    def pauseProducing():
        """Stop reading."""

    def resumeProducing():
        """Read again."""

    def stopProducing():
        """Same as loseConnection."""

    def registerProducer(producer, streaming):
        """Pause and resume this IPushProducer by the amount that waits to be sent. Only `streaming=True`."""

    def unregisterProducer():
        """Forget the producer."""

    def getPeer():
        """The peer's IPv4Address or IPv6Address (twisted.internet.address)."""

    def getHost():
        """Our end's address."""


class ICertificateIssuer(Interface):
    """Leaf certificates for intercepted names."""

    def issue(host, within=None):
        """Return a Deferred of a new `x509.leaf.Leaf` for this `names.host.Host`, valid at no time outside `within`
        (`x509.reading.Validity`).
        """


class IPolicySource(Interface):
    """The policy in force."""

    current = Attribute("The `policy.compile.CompiledPolicy` that new exchanges are decided by.")

    def reload():
        """Read, validate and compile again, then swap. Return a Deferred of `ReloadResult`; on failure the old one
        stays.
        """


class IStore(Interface):
    """Where rule groups, configurations and proxies are kept."""

    def transact(function, *arguments):
        """Run `function(transaction, *arguments)` in one writing transaction, off the reactor's thread.

        Return a Deferred of its result, which fires when everything is stored; what it raises undoes everything.
        `transaction` is a `store.repository.Transaction`. Writers come one after another. The function may run again,
        so it does nothing but use the transaction. Cancelling forgets the result, not the change.
        """

    def read(function, *arguments):
        """The same for a function that only reads: it sees one moment, and waits for no writer."""


class IRecordSink(Interface):
    """Where records go."""

    def write(record):
        """Take one record, a line of JSON as bytes. Never blocks and never raises; what is dropped is counted."""


class IRecordDestination(Interface):
    """Where one output's records end up: a file, a server. One `telemetry.record_log.RecordLog` feeds it from a thread
    of its own, so all but `open` may wait, and what waits long stops this output alone. docs/architecture.md says how
    to add one.
    """

    shown = Attribute("What the program's log calls it: a path, a server's address.")
    lost = Attribute("Records that were dealt with and did not arrive, since the start; it only grows.")
    longest_pause = Attribute("Seconds between two attempts while it fails, at most: they begin at one and double.")

    def open():
        """Begin, on the reactor's thread: wait for nobody. Raises OSError where the proxy should not start like this; a
        server that is away is no such reason.
        """

    def send(records):
        """Deliver from the front of a list of byte strings, each what this output's printer made of one record. Return
        how many are dealt with, delivered or counted as `lost`: the others come again.

        Raises OSError when none could be delivered (BlockingIOError: try again in a moment). They stay queued then, and
        what does not fit behind them is counted as dropped.
        """

    def reopen():
        """A signal asked for it: leave the file or connection, and begin anew with the next `send`. Raises OSError."""

    def close():
        """The end, after the last `send`. Never raises."""


class IAdmission(Interface):
    """Who may come in, and how many."""

    def admit_connection(listener, peer):
        """Return None, or the reason (a closed set of words) why this connection is closed at once."""

    def connection_closed(listener_name, peer):
        """An admitted connection ended."""

    def admit_sender():
        """Return None and count a connection whose PROXY header is awaited, or the reason why it is closed at once."""

    def sender_done(refused=None):
        """Such a connection is counted no more: its header came, it ended, or it is refused for this reason."""
