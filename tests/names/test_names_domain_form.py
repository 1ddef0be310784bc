"""The three domain forms."""

import pytest

from netfw.names.domain_form import DomainForm, DomainFormError, DomainScope, parse_domain_form


@pytest.mark.parametrize(
    ("form", "yes", "no"),
    [
        ("example.com", ["example.com"], ["a.example.com", "example.org", "xample.com", "com", ""]),
        (
            ".example.com",
            ["example.com", "a.example.com", "a.b.example.com"],
            ["badexample.com", "com", "example.com.evil"],
        ),
        (
            "*.example.com",
            ["a.example.com", "a.b.example.com"],
            ["example.com", "badexample.com", "a.example.com.evil"],
        ),
        ("10.0.0.1", ["10.0.0.1"], ["110.0.0.1", "a.10.0.0.1"]),
        ("[::1]", ["::1"], ["::2"]),
    ],
)
def test_what_each_form_matches(form, yes, no):
    """Exact, apex and subdomains, subdomains only; always by whole labels."""
    parsed = parse_domain_form(form)
    assert [host for host in yes + no if parsed.matches(host)] == yes


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Example.COM.", "example.com"),
        (".Example.COM", ".example.com"),
        ("*.Bücher.example", "*.xn--bcher-kva.example"),
        ("com", "com"),
    ],
)
def test_normal_form(text, normal):
    """`str` is the normal form of what was written, and parses to the same form."""
    parsed = parse_domain_form(text)
    assert str(parsed) == normal
    assert parse_domain_form(normal) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "*",
        "*.",
        "**.a",
        "*a.example",
        "a.*.example",
        "*.*.a",
        "..a",
        ".10.0.0.1",
        "*.10.0.0.1",
        ".0.0.1",
        "a b",
        ".::1",
        "a/b",
        "*.a..b",
        "http://a",
    ],
)
def test_refused(text):
    """Other uses of the star, empty labels and prefixes before addresses are refused."""
    with pytest.raises(DomainFormError):
        parse_domain_form(text)


def test_scope_is_part_of_the_value():
    """Forms of one name and different scope differ."""
    assert parse_domain_form(".a.example") == DomainForm("a.example", DomainScope.APEX_AND_SUBDOMAINS)
    assert parse_domain_form(".a.example") != parse_domain_form("*.a.example")
