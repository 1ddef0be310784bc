"""What the process says of itself."""

from __future__ import annotations

from netfw import __version__
from netfw.admin.status import ProcessStatus, State


def test_members() -> None:
    """Name, version, state, uptime, parts and the last reload, at the time of asking."""
    now = [100.0]
    status = ProcessStatus(name="p", now=lambda: now[0])
    assert status.status()["state"] == "starting"
    count = [0]
    status.part("connections", lambda: count[0])
    now[0] = 160.9
    count[0] = 5
    status.state = State.READY
    status.reloaded({"ok": False, "problems": ["x"]})
    said = status.status()
    assert (said["name"], said["version"], said["uptime_seconds"]) == ("p", __version__, 60)
    assert (said["state"], said["connections"]) == ("ready", 5)
    assert said["last_reload"] == {"ok": False, "problems": ["x"], "at": 160}
    assert "problems" not in said


def test_a_broken_part_breaks_nothing_else() -> None:
    """It is left out and named, without its message."""
    status = ProcessStatus(name="p", now=lambda: 0.0)
    status.part("bad", lambda: {}["secret"])
    status.part("good", lambda: 1)
    said = status.status()
    assert said["good"] == 1
    assert "bad" not in said
    assert said["problems"] == ["bad: KeyError"]
