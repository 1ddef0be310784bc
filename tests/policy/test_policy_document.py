"""docs/policy.md and etc/policy.yaml are what the code says they are."""

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
from netfw.policy.operators import TABLE as OPERATOR_TABLE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "policy.md"


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
