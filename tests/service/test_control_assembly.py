"""What the control API says of the place where it is served."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from netfw.config.listener_ports import PermittedListeners
from netfw.config.load import load_config
from netfw.control.operations.call import ProxyFacts
from netfw.service.control_assembly import NO_CONTROL, ControlSurface, ca_arn
from netfw.service.proxy_facts import plain_facts
from netfw.store.database import Database
from netfw.store.fleet import Node, report
from netfw.store.resources import StoredListener

CONFIGURATION = """\
listeners: [{name: main, type: HTTP, address: 127.0.0.1, port: 3128}]
policy: {file: policy.yaml}
"""


def surface(place: Path, certificate: Callable[[], bytes | None], port: int | None = 3128) -> ControlSurface:
    """The API of a proxy with this configuration."""
    configuration = load_config(place, with_files=False)
    return ControlSurface(
        configuration,
        Clock(),
        policies=None,
        ca_certificate=certificate,
        ports=lambda: [(section, port) for section in configuration.listeners],
        doors=NoDoors(),
    )


class NoDoors:
    """Sockets that nobody touches here."""

    def opened(self) -> set[tuple[int, int]]:
        return set()

    def open_port(self, position: int, port: int) -> None:
        raise AssertionError

    close_port = open_port

    def settled(self) -> Deferred[None]:
        return succeed(None)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "proxy.yaml").write_text(CONFIGURATION)
    return tmp_path


def test_the_ca_is_named_as_it_is_now(directory: Path) -> None:
    """Also after a reload that took over another one, or that found none."""
    in_force: list[bytes | None] = [b"the first"]
    made = surface(directory / "proxy.yaml", lambda: in_force[-1])
    assert made.facts().ca_arn == ca_arn(NO_CONTROL, b"the first")
    in_force.append(b"the second")
    assert made.facts().ca_arn == ca_arn(NO_CONTROL, b"the second") != ca_arn(NO_CONTROL, b"the first")
    in_force.append(None)
    assert made.facts().ca_arn is None


def test_what_proxy_yaml_says_is_known_of_this_proxy_and_by_reports_of_others(directory: Path) -> None:
    """Of one that no node has told of, nothing; of a node that speaks otherwise, nothing either."""
    url = f"sqlite:///{directory / 'policy.sqlite'}"
    place = directory / "proxy.yaml"
    document = CONFIGURATION.replace("{file: policy.yaml}", f'{{store: "{url}", last_good: last-good}}')
    place.write_text(
        f"proxy: {{name: ours, hostname: ours.example}}\n{document}".replace(
            "3128}", "3128, from_store: [3128, 80-90]}"
        )
    )
    made = surface(place, lambda: b"the second")
    facts = made.facts()
    assert facts.hostname == "ours.example"
    assert facts.listeners == (StoredListener(3128, "HTTP"),)
    assert facts.permitted == PermittedListeners((), (("HTTP", ((3128, 3128), (80, 90))),))
    database = Database.open(url)
    now = time.time()
    theirs = replace(facts, hostname="theirs.example", listeners=(StoredListener(80, "HTTP"),))
    for number, site in enumerate((plain_facts(facts), plain_facts(theirs), {"another": "form"})):
        name = "odd" if number == 2 else "theirs"
        node = Node(f"n{number}", name, "host", "1", 1, "ready", None, {"site": site}, now, now + number)
        database.transact_aside(report, node)

    def of(name: str) -> ProxyFacts | None:
        return database.read(made.site().facts, name)

    assert (of("ours"), of("theirs"), of("nobody"), of("odd")) == (facts, theirs, None, None)
    database.close()
