"""The test DNS server itself, asked with twisted.names' messages: other tests lean on what it says."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys

import pytest
from twisted.names import dns

from netfw.testing.dns_server import OTHER_ADDRESS, DnsServer

LOOPBACK = "127.0.0.1"


def ask(port, name, type_=dns.A, tcp=False):
    """(response code, truncated, [(owner, type, text)]) or None after a moment of silence."""
    query = dns.Message(7, recDes=1)
    query.addQuery(name.encode(), type_)
    data = query.toStr()
    with socket.socket(type=socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.connect((LOOPBACK, port))
        sock.sendall(struct.pack("!H", len(data)) + data if tcp else data)
        try:
            if tcp:
                stream = sock.makefile("rb")
                received = stream.read(struct.unpack("!H", stream.read(2))[0])
            else:
                received = sock.recv(65535)
        except TimeoutError:
            return None
    message = dns.Message()
    message.fromStr(received)
    records = []
    for record in message.answers:
        payload = record.payload
        text = str(payload.name) if record.type == dns.CNAME else payload.dottedQuad() if record.type == dns.A else "?"
        records.append((str(record.name), record.type, text))
    return message.rCode, message.trunc, records


def test_zone():
    """Addresses, chains, wildcards, codes and names that are missing are answered as a recursive resolver does."""
    zone = {
        "www.test": {"A": ["192.0.2.1"]},
        "alias.test": {"CNAME": "www.test"},
        "circle.test": {"CNAME": "circle.test"},
        "*.wild.test": {"A": ["192.0.2.2"]},
        "broken.test": {"rcode": "SERVFAIL"},
        "half.test": {"A": ["192.0.2.3"], "rcode": {"AAAA": "REFUSED"}},
    }
    www = ("www.test", dns.A, "192.0.2.1")
    with DnsServer(zone) as server:
        for tcp in (False, True):
            assert ask(server.port, "www.test", tcp=tcp) == (0, 0, [www])
            assert ask(server.port, "WWW.test", dns.AAAA, tcp=tcp) == (0, 0, [])
            assert ask(server.port, "alias.test", tcp=tcp) == (0, 0, [("alias.test", dns.CNAME, "www.test"), www])
            assert ask(server.port, "a.b.wild.test", tcp=tcp) == (0, 0, [("a.b.wild.test", dns.A, "192.0.2.2")])
            assert ask(server.port, "wild.test", tcp=tcp) == (3, 0, [])
            assert ask(server.port, "broken.test", tcp=tcp) == (2, 0, [])
            assert ask(server.port, "half.test", dns.AAAA, tcp=tcp) == (5, 0, [])
        assert ask(server.port, "circle.test") == (0, 0, [("circle.test", dns.CNAME, "circle.test")])
        assert (server.asked("www.test"), server.asked("www.test", "A"), server.asked("never.test")) == (4, 2, 0)


def test_sequence_and_truncation():
    """A sequence moves on with each question of a type; a truncated answer is whole over TCP."""
    zone = {
        "moving.test": {"sequence": [["192.0.2.1", "2001:db8::1"], {"rcode": "SERVFAIL"}, ["192.0.2.2"]]},
        "big.test": {"truncate": True, "count": 1000},
    }
    with DnsServer(zone) as server:
        answers = [ask(server.port, "moving.test") for _ in range(4)]
        assert [(code, [text for _, _, text in records]) for code, _, records in answers] == [
            (0, ["192.0.2.1"]),
            (2, []),
            (0, ["192.0.2.2"]),
            (0, ["192.0.2.2"]),
        ]
        assert ask(server.port, "big.test") == (0, 1, [])
        assert len(ask(server.port, "big.test", tcp=True)[2]) == 1000


def test_answers_from_elsewhere():
    """other_address and other_port come from another address and another port: a connected socket gets nothing."""
    zone = {
        "a.test": {"hostile": "other_address"},
        "p.test": {"hostile": "other_port"},
        "s.test": {"hostile": "silence"},
    }
    with DnsServer(zone) as server:
        assert [ask(server.port, name) for name in ("a.test", "p.test", "s.test")] == [None, None, None]
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(3)
            query = dns.Message(7)
            query.addQuery(b"a.test", dns.A)
            sock.sendto(query.toStr(), (LOOPBACK, server.port))
            assert sock.recvfrom(4096)[1] == (OTHER_ADDRESS, server.port)


def test_delay_is_dropped_at_the_end():
    """An answer that is still delayed does not keep the server from stopping."""
    with DnsServer({"slow.test": {"delay": 60}}) as server:
        assert ask(server.port, "slow.test") is None


def test_process(tmp_path):
    """As a process it prints its port, logs each question, reads a changed zone, and ends with its standard input."""
    zone, log = tmp_path / "zone.json", tmp_path / "log"
    zone.write_text(json.dumps({"www.test": {"A": ["192.0.2.1"]}}))
    command = [sys.executable, "-m", "netfw.testing.dns_server", "--zone", zone, "--log", log, "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        assert ask(port, "www.test")[2] == [("www.test", dns.A, "192.0.2.1")]
        zone.write_text(json.dumps({"www.test": {"A": ["192.0.2.222"]}}))
        assert ask(port, "www.test", tcp=True)[2] == [("www.test", dns.A, "192.0.2.222")]
        process.stdin.close()
        assert process.wait(10) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["name"], line["type"], line["transport"]) for line in lines] == [
        ("www.test", "A", "udp"),
        ("www.test", "A", "tcp"),
    ]


def test_unknown_mode_is_a_mistake_of_the_test():
    """A hostile mode that does not exist is told to whoever wrote it, in the server's thread."""
    from netfw.testing.dns_zone import Question, ZoneAnswers

    with pytest.raises(ValueError, match="no_such_mode"):
        ZoneAnswers({"a.test": {"hostile": "no_such_mode"}}).reply_to(Question("a.test", "A", 7, False, "udp", 0))
