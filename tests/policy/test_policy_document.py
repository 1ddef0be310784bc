"""docs/policy.md, docs/man/netfw-policy.5 and etc/policy.yaml are what the code says they are."""

import shutil
import subprocess
from pathlib import Path

import pytest
from exchanges import POST_RESPONSE, PRE_DNS, PRE_REQUEST, connect, opaque, request, verdict

from netfw.config.document import parse_yaml
from netfw.config.policy_files import read_policy_file
from netfw.policy.compile import compile_policy
from netfw.policy.document import render
from netfw.policy.keys import TABLE
from netfw.policy.lint import lint_policy
from netfw.policy.load import load_policy
from netfw.policy.man_page import man_page
from netfw.policy.operators import TABLE as OPERATOR_TABLE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "policy.md"
MAN_PAGE = ROOT / "docs" / "man" / "netfw-policy.5"


def test_page_is_up_to_date():
    """`python -m netfw.policy.document > docs/policy.md` changes nothing, and names every key and operator."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == render()
    for name in [key.name for key in TABLE] + [operator.name for operator in OPERATOR_TABLE]:
        assert f"`{name}`" in page


def test_the_pages_policy_loads():
    """The first example of the page is a policy."""
    example = PAGE.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    assert load_policy(parse_yaml(example, "page"), "page").name == "example"


def test_man_page_is_up_to_date():
    """`python -m netfw.policy.document --man > docs/man/netfw-policy.5` changes nothing; every name is in it."""
    page = MAN_PAGE.read_text(encoding="utf-8")
    assert page == man_page(render())
    for name in [key.name for key in TABLE] + [operator.name for operator in OPERATOR_TABLE]:
        assert rf"\fB\%{name}\fR" in page
    assert page.isascii()


def test_man_page_has_no_warnings():
    """groff has nothing to say against it, at the width of a terminal."""
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("program missing: groff")
    printed = subprocess.run(
        [groff, "-t", "-man", "-ww", "-z", "-T", "utf8", str(MAN_PAGE)], capture_output=True, text=True, check=True
    )
    assert printed.stdout + printed.stderr == ""


def test_man_page_escapes():
    """What roff would take for its own is printed: backslashes, dots and quotes in front, dashes, marks in code."""
    text = "# No\n\n## One-two\n\n.x **a `b-c*` d** \\n\n\n* `'e`\n  .f\n\n```\n.g\n'h \\\\\n```"
    lines = man_page(text).splitlines()
    assert r".SH ONE\-TWO" in lines
    assert r"\&.x \fBa \fB\%b\-c* d\fR \en" in lines
    assert lines[lines.index(r".IP \(bu 3") + 1 :][:2] == [r"\fB\%\(aqe\fR", r"\&.f"]
    assert lines[lines.index(".EX") + 1 :][:3] == [r"\&.g", r"\(aqh \e\e", ".EE"]


EXAMPLE = compile_policy(read_policy_file(ROOT / "etc" / "policy.yaml"), 1, 0.0)
CURL = [("User-Agent", "curl/8.5.0")]


def test_example_has_no_warnings():
    """The policy that newcomers read is one that lint is content with."""
    assert lint_policy(EXAMPLE.configuration, intercepts=True, passes_through=False, now=1.8e9) == []


@pytest.mark.parametrize(
    ("phase", "facts", "expected"),
    [
        (PRE_DNS, connect("example.com"), "ALLOW destinations/allow-1"),
        (PRE_DNS, connect("www.example.com", 22), "ALLOW destinations/allow-1"),
        (PRE_DNS, connect("example.org"), "DENY default"),
        (PRE_DNS, connect("github.com"), "ALLOW git-read-only/allow-1"),
        (PRE_DNS, connect("www.facebook.com"), "DENY house-rules/no-social-network"),
        (PRE_DNS, connect("legacy.example.net", client="127.0.0.1"), "ALLOW destinations/until-the-move"),
        (PRE_DNS, connect("legacy.example.net", client="127.0.0.1", time=2e9), "DENY default"),
        (PRE_REQUEST, connect("github.com"), "Open git-read-only/deny-1"),
        (PRE_REQUEST, opaque("github.com"), "ALLOW git-read-only/allow-1-request"),
        (
            PRE_REQUEST,
            request("POST", "https://github.com/o/r.git/git-upload-pack"),
            "ALLOW git-read-only/allow-1-request",
        ),
        (PRE_REQUEST, request("POST", "https://github.com/o/r.git/git-receive-pack"), "DENY git-read-only/deny-1"),
        (
            PRE_REQUEST,
            request("GET", "https://github.com/o/r.git/info/refs?service=git-receive-pack"),
            "DENY git-read-only/deny-2",
        ),
        (PRE_REQUEST, request("POST", "https://packages.example/upload"), "DENY destinations/deny-1"),
        (
            POST_RESPONSE,
            request(status=200, response_headers=[("Content-Type", "application/octet-stream")]),
            "DENY house-rules/no-raw-binaries",
        ),
        (
            POST_RESPONSE,
            request(
                "GET",
                "https://packages.example/a",
                status=200,
                response_headers=[("Content-Type", "application/octet-stream")],
            ),
            "ALLOW default",
        ),
    ],
)
def test_example_policy(phase, facts, expected):
    """What etc/policy.yaml's comments promise."""
    assert verdict(EXAMPLE, phase, facts) == expected


def test_example_alerts():
    """curl and uploads are noted."""
    from exchanges import decide

    decision = decide(EXAMPLE, PRE_REQUEST, request("POST", "https://example.com/", CURL))
    assert [str(match.rule) for match in decision.matches] == [
        "house-rules/watch-curl",
        "house-rules/watch-uploads",
        "destinations/allow-1-request",
    ]
