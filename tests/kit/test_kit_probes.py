"""What the outcome of a trial says about a tool."""

from __future__ import annotations

import pytest

from netfw.kit.probes import PROBES, Mark, Trial, Verdict, judge

BY_NAME = {probe.name: probe for probe in PROBES}
OK, NO, UNTRIED = Mark.OK, Mark.NO, Mark.UNTRIED


@pytest.mark.parametrize(
    ("tool", "trial", "verdict"),
    [
        ("curl", Trial(0, "", 200, True), Verdict(OK, OK, "")),
        ("curl", Trial(60, "curl: (60) SSL certificate problem: x", 200, True),
         Verdict(OK, NO, "curl: (60) SSL certificate problem: x")),
        ("curl", Trial(56, "curl: (56) CONNECT tunnel failed", 403, True),
         Verdict(OK, UNTRIED, "the proxy answered 403")),
        ("curl", Trial(56, "", None, True), Verdict(OK, UNTRIED, "the proxy answered nothing")),
        ("wget", Trial(8, "ERROR 404", 200, True), Verdict(OK, OK, "")),
        ("git", Trial(128, "fatal: repository not found", 200, True), Verdict(OK, OK, "")),
        ("git", Trial(128, "server certificate verification failed", 200, True),
         Verdict(OK, NO, "server certificate verification failed")),
        ("node", Trial(0, "200", None, False), Verdict(NO, UNTRIED, BY_NAME["node"].advice)),
        ("java", Trial(None, "", None, True), Verdict(OK, UNTRIED, "took too long")),
        ("java", Trial(1, "PKIX path building failed\n\tat a.b(C.java)\nPicked up JAVA_TOOL_OPTIONS: x", 200, True),
         Verdict(OK, NO, "PKIX path building failed")),
        ("curl", Trial(0, "", None, False, seen=False), Verdict(UNTRIED, OK, "")),
    ],
)  # fmt: skip
def test_verdicts_on_https(tool: str, trial: Trial, verdict: Verdict) -> None:
    """Whether the proxy was asked, and whether what it showed was trusted; a denial is neither's fault."""
    assert judge(BY_NAME[tool], trial, tls=True) == verdict


def test_verdicts_on_http() -> None:
    """There is nothing to trust."""
    assert judge(BY_NAME["curl"], Trial(0, "", 200, True), tls=False) == Verdict(OK, UNTRIED, "")
    assert judge(BY_NAME["curl"], Trial(0, "", 403, True), tls=False).note == "the proxy answered 403"
    assert judge(BY_NAME["curl"], Trial(52, "", None, True), tls=False).note == "the proxy answered nothing"
    assert judge(BY_NAME["node"], Trial(0, "200", None, False), tls=False).proxy is NO
    assert judge(BY_NAME["curl"], Trial(0, "", None, False, seen=False), tls=False) == Verdict(UNTRIED, UNTRIED, "")


def test_notes_are_one_short_line() -> None:
    """Whatever a tool, or the other end through it, prints."""
    trial = Trial(1, "certificate \x1b[31m" + "x" * 5000, 200, True)
    note = judge(BY_NAME["curl"], trial, tls=True).note
    assert len(note) <= 120
    assert note.isprintable()
