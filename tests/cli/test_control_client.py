"""The control API's client: what it makes again and what it never does, and what it says when it cannot."""

from __future__ import annotations

import json
import random
import socket
from typing import Any

import click
import pytest

from netfw.cli.control_client import ControlClient, LostOnTheWay, NobodyThere, Refused, Reply, way_to
from netfw.cli.credentials import Profile
from netfw.control.json_protocol import print_refusal
from netfw.control.refusals import InternalFailure, InvalidToken, Refusal, Throttled

DONE = Reply(200, b'{"UpdateToken":"t"}', 7)


class Scripted:
    """A way whose replies and errors are written down; the last stays."""

    place = "here"

    def __init__(self, *script: Reply | Exception | Refusal) -> None:
        self._script = list(script)
        self.sent: list[tuple[str, Any]] = []

    def send(self, target: str, body: bytes) -> Reply:
        """The next of the script."""
        self.sent.append((target, json.loads(body)))
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Refusal):
            return Reply(step.status, print_refusal(step))
        if isinstance(step, Exception):
            raise step
        return step


class Clock:
    """Time that passes by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.pauses.append(seconds)
        self.time += seconds


def client(way: Scripted) -> tuple[ControlClient, Clock]:
    """A client that waits in no time."""
    clock = Clock()
    return ControlClient(way, sleep=clock.sleep, now=lambda: clock.time), clock


def test_a_call_goes_to_its_target_without_what_is_none() -> None:
    """The vendor's and ours; the generation is kept."""
    way = Scripted(DONE)
    asked, _ = client(way)
    assert asked.call("DescribeProxy", ProxyName="p", ProxyArn=None) == {"UpdateToken": "t"}
    asked.call("ListGenerations")
    assert way.sent == [
        ("NetworkFirewall_20201112.DescribeProxy", {"ProxyName": "p"}), ("Netfw_2026.ListGenerations", {}),
    ]  # fmt: skip
    assert asked.generation == 7


def test_throttled_calls_wait_longer_each_time_and_are_made_again() -> None:
    """Changes too: what is throttled was not done. In the end patience ends."""
    way = Scripted(*[Throttled("wait")] * 6, DONE)
    asked, clock = client(way)
    asked.call("ApplyPolicy", Document={}, UpdateToken="t")
    assert len(way.sent) == 7
    assert all(0.025 * 2**n <= pause <= 0.05 * 2**n for n, pause in enumerate(clock.pauses))
    asked, clock = client(Scripted(Throttled("wait")))
    with pytest.raises(Refused, match="wait"):
        asked.call("ListProxies")
    assert 100 < clock.time <= 120


@pytest.mark.parametrize("failure", [InternalFailure("ours"), LostOnTheWay("cut")])
def test_readings_are_made_again_after_an_error_of_the_servers_and_changes_never(failure: Exception) -> None:
    """Whether a change was done cannot be known."""
    way = Scripted(failure, failure, failure, DONE)
    asked, _ = client(way)
    asked.call("ListProxies")
    assert len(way.sent) == 4
    asked, _ = client(Scripted(failure))
    with pytest.raises(click.ClickException):
        asked.call("ListProxies")
    way = Scripted(failure, DONE)
    asked, _ = client(way)
    with pytest.raises(click.ClickException):
        asked.call("RollBack", Generation=1, SeenGeneration=2)
    assert len(way.sent) == 1


def test_what_was_lost_says_that_it_may_be_done() -> None:
    """So that nobody does it twice without looking."""
    asked, _ = client(Scripted(LostOnTheWay("cut")))
    with pytest.raises(LostOnTheWay, match="whether RollBack was done is not known"):
        asked.call("RollBack", Generation=1, SeenGeneration=2)


def test_an_edit_reads_anew_when_somebody_else_was_first() -> None:
    """With the token of each reading; other errors end it at once, and in the end patience does."""
    random.seed(1)
    stale = InvalidToken("changed meanwhile")
    way = Scripted(DONE, stale, DONE, stale, DONE, DONE)
    asked, _ = client(way)

    def attempt() -> str:
        token = asked.call("DescribeProxyConfiguration", ProxyConfigurationName="c")["UpdateToken"]
        asked.call("UpdateProxyConfiguration", ProxyConfigurationName="c", UpdateToken=token)
        return "done"

    assert asked.edit(attempt) == "done"
    assert len(way.sent) == 6
    never, clock = client(Scripted(stale))
    with pytest.raises(Refused, match="others change it all the time"):
        never.edit(lambda: never.call("ListProxies"))
    assert 100 < clock.time <= 120


def test_pages_are_put_together() -> None:
    """Until there is no token."""
    way = Scripted(Reply(200, b'{"Proxies":[1],"NextToken":"n"}'), Reply(200, b'{"Proxies":[2]}'))
    asked, _ = client(way)
    assert asked.pages("ListProxies", "Proxies") == [1, 2]
    assert [given for _, given in way.sent] == [{}, {"NextToken": "n"}]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(413, b""), "at most 32 MiB at once"),
        (Reply(200, b"<html>"), "not of the control API"),
        (Reply(200, b"[]"), "not of the control API"),
        (Reply(404, b"{}"), "answers 404"),
    ],
)
def test_what_is_no_answer_of_the_api_is_said(reply: Reply, said: str) -> None:
    """A web server at the wrong port, say."""
    asked, _ = client(Scripted(reply))
    with pytest.raises(click.ClickException, match=said):
        asked.call("ListProxies")


@pytest.mark.parametrize(
    "endpoint", ["", "host:99", "ftp://host:1", "https://", "http://h:x", "http://h:99999", "http://h/a"]
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    """With how one looks."""
    with pytest.raises(click.ClickException, match="write https://HOST:PORT"):
        way_to(endpoint, Profile())


def test_who_does_not_run_needs_no_key() -> None:
    """Nobody there and no key are two errors."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(NobodyThere, match="nobody answers on"):
        way_to(place, Profile()).send("x", b"")


def test_a_server_without_our_key_is_told_nothing() -> None:
    """The connection is made and left; the error says where keys come from."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(click.ClickException, match="AWS_ACCESS_KEY_ID"):
            way_to(place, Profile()).send("x", b"")
        taken, _ = server.accept()
        with taken:
            assert taken.recv(100) == b""
