"""TLS towards origins: connections that name their host, and sessions that are resumed only where they were earned.

In here: SSL connections for origins, the whole way from a connected transport to a verified one, and the last session
of each origin. Not in here: what a context allows (`contexts`), which one is whose (`origin_profiles`), the check of
name and revocation (`verification`), which connections are kept open (`proxy.upstream_pool`). RFC 6066, section 3: no
server name for addresses.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netfw.names.host import Host
from netfw.tls.failures import OriginVerdict, TlsHandshakeError
from netfw.tls.origin_profiles import OneProfile, OriginProfile, OriginProfiles
from netfw.tls.stream import TlsStream, start_tls
from netfw.tls.verification import origin_error, verify_origin
from netfw.transport.deadlines import Deadlines
from netfw.x509.reading import Validity

SESSION_LIFETIME = 3600.0
"""Seconds after the last full verification of the chain; servers would have sessions live for up to a week."""


class UpstreamTls:
    """Makes the client's side of TLS to origins.

    A session resumes for the same host and port under the same profile only (roots, lists, pins, version, client
    certificate), since that is what was verified when it was earned (CVE-2022-21654 is what happens otherwise).
    """

    def __init__(
        self,
        profiles: OriginProfiles | OneProfile,
        *,
        sessions: int = 1024,
        seconds: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.profiles = profiles
        self._most_sessions = sessions
        self._seconds = seconds
        self._now = now
        # (host, port, profile) -> (session, when its chain was verified)
        self._sessions: OrderedDict[tuple[str, int, OriginProfile], tuple[Any, float]] = OrderedDict()

    def renew(self, profiles: OriginProfiles) -> None:
        """From now on by these. Nothing that was verified by the former ones is resumed."""
        self.profiles = profiles
        self._sessions.clear()

    def has_ended(self, validity: Validity) -> bool:
        """Whether a certificate that was verified once would be refused now."""
        return validity.ends.timestamp() <= self._now()

    def connection_for(self, host: Host, port: int = 443) -> SSL.Connection:
        """A new connection object on the client's side.

        It offers the last session of this host and port, if there is one.
        """
        return self._connection(self.profiles.of(host), host, port)

    def _connection(self, profile: OriginProfile, host: Host, port: int) -> SSL.Connection:
        connection = SSL.Connection(profile.context, None)
        connection.set_app_data(OriginVerdict())
        connection.request_ocsp()
        if host.address is None:
            connection.set_tlsext_host_name(host.text.encode("ascii"))
        key = (host.text, port, profile)
        kept = self._sessions.get(key)
        if kept is not None:
            session, verified_at = kept
            if self._seconds() - verified_at < SESSION_LIFETIME:
                connection.set_session(session)
            else:
                self._sessions.pop(key, None)
        connection.set_connect_state()
        return connection

    def secure(
        self,
        stream: Any,
        host: Host,
        port: int,
        *,
        deadlines: Deadlines,
        handshake_timeout: float,
        abort_timeout: float,
    ) -> Deferred[TlsStream]:
        """Make a connected transport a verified TLS connection to this host. Nothing but the handshake is sent before.

        Returns:
            A Deferred of the TlsStream, not started. Fails with `errors.OriginCertificateInvalid`, `OriginTlsAlert`,
            `OriginTlsFailure`, `OriginClosed` or `OriginConnectTimeout`; the transport is closed then. Cancelling it
            aborts the transport.
        """
        profile = self.profiles.of(host)
        connection = self._connection(profile, host, port)

        def verify(tls: TlsStream) -> TlsStream:
            try:
                verify_origin(connection, host, pins=profile.pins, now=self._now())
            except Exception:
                self._sessions.pop((host.text, port, profile), None)
                tls.loseConnection()
                raise
            tls.call_after_first_data(lambda: self._keep_session(connection, host, port, profile))
            return tls

        def explain(failure: Failure) -> Failure:
            error = failure.value
            if not isinstance(error, TlsHandshakeError):
                return failure
            # A session that the origin cannot take must not fail the next handshake too.
            self._sessions.pop((host.text, port, profile), None)
            return Failure(origin_error(error, host, connection))

        return start_tls(
            stream, connection, deadlines=deadlines, handshake_timeout=handshake_timeout, abort_timeout=abort_timeout
        ).addCallbacks(verify, explain)

    def _keep_session(self, connection: SSL.Connection, host: Host, port: int, profile: OriginProfile) -> None:
        """Keep the session of a connection whose certificate was verified for this host.

        With TLS 1.3 the ticket comes after the handshake, so this is of use only when data from the origin have come.
        """
        session = connection.get_session()
        # A connection may outlive what it was verified by.
        if session is None or self.profiles.of(host) is not profile:
            return
        key = (host.text, port, profile)
        if connection.get_app_data().verified:
            verified_at = self._seconds()
        elif key in self._sessions:  # resumed: its age is that of the session it came from
            verified_at = self._sessions[key][1]
        else:
            return
        self._sessions[key] = (session, verified_at)
        self._sessions.move_to_end(key)
        while len(self._sessions) > self._most_sessions:
            self._sessions.popitem(last=False)
