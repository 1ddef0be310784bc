"""The hosts file: what is read, and when it is read again."""

from __future__ import annotations

import os
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from netfw.names.host import host_from_text
from netfw.transport.hosts_file import CHECK_INTERVAL, MAX_SIZE, HostsFile, parse_hosts

WWW = host_from_text("www.example.test")


def write(path, text, mtime):
    """A date of our choosing: two writes in one tick of the file system's clock would have the same one."""
    path.write_bytes(text.encode())
    os.utime(path, (mtime, mtime))


def test_lines():
    """Names, aliases, comments, blanks and both families are read; names are canonical."""
    data = (
        b"# a comment\n\n192.0.2.1 www.example.test WWW.Alias.Test. # behind\n"
        b"\t2001:db8::1\twww.example.test\r\n192.0.2.1 www.example.test\n"
        b"192.0.2.2 b\xc3\xbccher.test _dmarc.test\n192.0.2.3"
    )
    names, problems = parse_hosts(data)
    assert problems == []
    assert {name: [str(a) for a in addresses] for name, addresses in names.items()} == {
        "www.example.test": ["192.0.2.1", "2001:db8::1"],
        "www.alias.test": ["192.0.2.1"],
        "xn--bcher-kva.test": ["192.0.2.2"],
        "_dmarc.test": ["192.0.2.2"],
    }


def test_bad_lines():
    """A line without an address, a name that is none, a zone: left out, each with its line's number."""
    data = (
        b"www.example.test 192.0.2.1\n192.0.2.1 good.test -bad-.test \xff.test\n192.0.2.1 192.0.2.2\n"
        b"1.2.3 x.test\nfe80::1%lo a.test"
    )
    names, problems = parse_hosts(data)
    assert list(names) == ["good.test"]
    assert [problem.partition(":")[0] for problem in problems] == [
        "line 1",
        "line 2",
        "line 2",
        "line 3",
        "line 4",
        "line 5",
    ]


@given(st.binary(max_size=300))
def test_any_bytes(data):
    """No bytes make the reader raise."""
    parse_hosts(data)


def test_read_again_when_changed(tmp_path):
    """A changed file counts from the next look on, and looks are a second apart."""
    path = tmp_path / "hosts"
    write(path, "192.0.2.1 www.example.test\n", 1000)
    hosts = HostsFile(path)
    assert hosts.addresses(WWW, 0.0) == (ip_address("192.0.2.1"),)
    write(path, "192.0.2.2 www.example.test\n", 2000)
    assert hosts.addresses(WWW, CHECK_INTERVAL - 0.01) == (ip_address("192.0.2.1"),)
    assert hosts.addresses(WWW, CHECK_INTERVAL) == (ip_address("192.0.2.2"),)


def test_unchanged_file_is_not_read(tmp_path):
    """A file with the same date, size and inode is not read again."""
    path = tmp_path / "hosts"
    write(path, "192.0.2.1 www.example.test\n", 1000)
    hosts = HostsFile(path)
    hosts.addresses(WWW, 0.0)
    write(path, "192.0.2.2 www.example.test\n", 1000)
    assert hosts.addresses(WWW, 10.0) == (ip_address("192.0.2.1"),)


def test_missing_file(tmp_path):
    """A file that is not there says nothing; it counts when it comes, and not any more when it goes."""
    path = tmp_path / "hosts"
    hosts = HostsFile(path)
    assert hosts.addresses(WWW, 0.0) == ()
    write(path, "192.0.2.1 www.example.test\n", 1000)
    assert hosts.addresses(WWW, 2.0) == (ip_address("192.0.2.1"),)
    path.unlink()
    assert hosts.addresses(WWW, 4.0) == ()


def test_unreadable_file_keeps_the_old_names(tmp_path):
    """When the file turns into something that cannot be read, or is too large, what was read stays."""
    path = tmp_path / "hosts"
    write(path, "192.0.2.1 www.example.test\n", 1000)
    hosts = HostsFile(path)
    hosts.addresses(WWW, 0.0)
    path.unlink()
    path.mkdir()
    assert hosts.addresses(WWW, 2.0) == (ip_address("192.0.2.1"),)
    path.rmdir()
    write(path, "#" * (MAX_SIZE + 1), 2000)
    assert hosts.addresses(WWW, 4.0) == (ip_address("192.0.2.1"),)


def test_unreadable_file_is_told_once(tmp_path):
    """That the file cannot be read is in the log once, not at every look."""
    events = []
    path = tmp_path / "hosts"
    path.mkdir()
    hosts = HostsFile(path)
    globalLogPublisher.addObserver(events.append)
    try:
        for now in range(0, 20, 2):
            hosts.addresses(WWW, float(now))
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert len([event for event in events if event.get("path") == str(path)]) == 1


def test_log_once(tmp_path):
    """Lines that are left out are told of once for each version of the file."""
    events = []
    path = tmp_path / "hosts"
    write(path, "bad line\nworse line\n192.0.2.1 www.example.test\n", 1000)
    hosts = HostsFile(path)
    globalLogPublisher.addObserver(events.append)
    try:
        for now in range(0, 20, 2):
            hosts.addresses(WWW, float(now))
        write(path, "bad line\n", 2000)
        hosts.addresses(WWW, 30.0)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert [(event["count"], event["problem"].partition(":")[0]) for event in events if "count" in event] == [
        (2, "line 1"),
        (1, "line 1"),
    ]
