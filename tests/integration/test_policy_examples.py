"""The documented examples of policies, through real sockets: what each rule does to a client, an origin and the record.

Here: the vendor's example rules, how names and paths are matched, in which order rules are looked at, and which of the
client's answers a denial shows up in. Not here: what no phase lets out, defaults one by one, alerts of each phase,
tunnels that are passed through (`test_phases`); texts and styles of a denial (`test_denials`). The same examples
without sockets are in tests/policy/test_policy_examples.py.

One server for each policy: `guide` intercepts all but passed.test, `names` intercepts nothing, `ordered` everything.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import Document, ProxyProcess, condition, domain_rule, policy, rule
from netfw.testing.wire_client import RoutedClient, WireClient

DOMAIN = "request:DestinationDomain"
URI = "request:Http:Uri"
SEEN_WAYS = ("absolute", "tunnel", "tls")
# Clients of vpc-0aaa, of another network, and of none that is known.
APPLICATION, OTHER, UNKNOWN = "127.0.0.5", "127.0.0.6", "127.0.0.7"
HOSTS = (
    "httpbin.org", "facebook.com", "www.facebook.com", "a.b.facebook.com", "notfacebook.com", "example.com",
    "www.example.com", "amazon.com", "aws.amazon.com", "docs.aws.amazon.com", "notaws.amazon.com", "glued.test",
    "www.glued.test", "unglued.test", "xn--bcher-kva.example", "passed.test", "priority.test", "late.test",
    "ended.test", "placed.test", "noted.test", "start.test", "anywhere.test",
)  # fmt: skip

GUIDE = json.loads("""
{"PreDNS":[
  {"ProxyRuleName":"app-to-httpbin","Action":"ALLOW","InsertPosition":0,"Conditions":[
    {"ConditionKey":"request:SourceVpc","ConditionOperator":"StringEquals","ConditionValues":["vpc-0aaa"]},
    {"ConditionKey":"request:DestinationDomain","ConditionOperator":"StringEquals","ConditionValues":["httpbin.org"]}]},
  {"ProxyRuleName":"social","Action":"DENY","InsertPosition":1,"Conditions":[
    {"ConditionKey":"request:DestinationDomain","ConditionOperator":"StringLike",
     "ConditionValues":["*.facebook.com","facebook.com"]}]}],
 "PreREQUEST":[{"ProxyRuleName":"no-post","Action":"DENY","InsertPosition":0,"Conditions":[
    {"ConditionKey":"request:Http:Method","ConditionOperator":"StringEquals","ConditionValues":["POST"]}]}],
 "PostRESPONSE":[{"ProxyRuleName":"no-binaries","Action":"DENY","InsertPosition":0,"Conditions":[
    {"ConditionKey":"response:Http:ContentType","ConditionOperator":"StringLike",
     "ConditionValues":["application/octet-stream*"]}]}]}
""")

# What the vendor's service answers, whatever the phase; `test_denials` says where it comes from.
FORBIDDEN = re.compile(
    rb"HTTP/1\.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
    rb"Date: [^\r\n]+ GMT\r\nContent-Length: 10\r\n\r\n(Forbidden\n)?"
)


def entry(rule_id: str, hook: str, action: str) -> dict[str, str]:
    """One entry of a record's all_matches."""
    return {"rule_id": rule_id, "hook": hook, "action": action}


@pytest.fixture(scope="module")
def site(dns: DnsServer) -> Iterator[HttpOrigin]:
    """The plain origin of all the hosts."""
    dns.answers.zone.update({host: {"A": ["127.0.0.1"]} for host in HOSTS})
    with HttpOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def tls_site(certificates: Any, site: HttpOrigin) -> Iterator[HttpOrigin]:
    """Their TLS origin."""
    with HttpOrigin(tls=certificates.issue(certificates.origins, "examples", *HOSTS)) as server:
        yield server


@pytest.fixture(scope="module")
def guide(proxy_maker: Any, certificates: Any) -> Iterator[ProxyProcess]:
    """The vendor's example, answered in the vendor's bytes."""
    ca = {"certificate": str(certificates.intercept[0]), "private_key": str(certificates.intercept[1])}
    settings = {"mode": "ENABLED", "ca": ca, "bypass": ["passed.test"]}
    with proxy_maker(
        "guide",
        policy(groups={"guide": GUIDE}),
        tls_intercept=settings,
        deny={"style": "aws"},
        sources=[{"cidr": f"{APPLICATION}/32", "vpc": "vpc-0aaa"}, {"cidr": f"{OTHER}/32", "vpc": "vpc-0bbb"}],
    ) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def closed(proxy_maker: Any, certificates: Any) -> Iterator[ProxyProcess]:
    """The same rules where nothing else is let out: only what app-to-httpbin allows passes PreDNS."""
    ca = {"certificate": str(certificates.intercept[0]), "private_key": str(certificates.intercept[1])}
    with proxy_maker(
        "closed",
        policy(pre_dns="DENY", groups={"guide": GUIDE}),
        tls_intercept={"mode": "ENABLED", "ca": ca},
        deny={"style": "aws"},
        sources=[{"cidr": f"{APPLICATION}/32", "vpc": "vpc-0aaa"}, {"cidr": f"{OTHER}/32", "vpc": "vpc-0bbb"}],
    ) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def names(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """Only what a rule names passes PreDNS."""
    rules = [
        domain_rule("exact", "ALLOW", "example.com", "xn--bcher-kva.example"),
        rule("below", "ALLOW", condition(DOMAIN, "StringLike", "*.facebook.com")),
        domain_rule("dotted", "ALLOW", ".aws.amazon.com"),
        rule("glued", "ALLOW", condition(DOMAIN, "StringLike", "*glued.test")),
    ]
    with proxy_maker("names", policy(pre_dns="DENY", groups={"names": {"PreDNS": rules}})) as proxy:
        yield proxy


def ordered_policy() -> Document:
    """Three groups that disagree; the file has them in the contrary order of their priority."""
    placed = [
        {**domain_rule("placed-second", "DENY", "placed.test"), "InsertPosition": 1},
        {**domain_rule("placed-first", "ALLOW", "placed.test"), "InsertPosition": 0},
    ]
    host = (DOMAIN, "StringEquals")
    document = policy(
        post_response="ALERT",
        groups={
            "one": {
                "PreDNS": [
                    domain_rule("watch", "ALERT", "late.test", "noted.test"),
                    domain_rule("open", "ALLOW", "priority.test", "ended.test"),
                    *placed,
                ],
            },
            "two": {
                "PreDNS": [
                    domain_rule("watch", "ALERT", "late.test", "ended.test"),
                    domain_rule("closed", "DENY", "priority.test"),
                ],
                "PostRESPONSE": [
                    rule("note", "ALERT", condition("response:Http:StatusCode", "NumericEquals", "200")),
                ],
            },
            "three": {
                "PreDNS": [
                    domain_rule("last", "DENY", "late.test"),
                    domain_rule("behind", "ALERT", "late.test"),
                ],
                "PreREQUEST": [
                    rule("later-phase", "DENY", condition(*host, "ended.test")),
                    rule("from-start", "DENY", condition(*host, "start.test"), condition(URI, "StringLike", "/admin*")),
                    rule(
                        "anywhere",
                        "DENY",
                        condition(*host, "anywhere.test"),
                        condition(URI, "StringLike", "*/admin*"),
                    ),
                ],
            },
        },
    )
    document["ProxyRuleGroups"].reverse()
    return document


@pytest.fixture(scope="module")
def ordered(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """See `ordered_policy`."""
    with proxy_maker("ordered", ordered_policy(), intercept=True) as proxy:
        yield proxy


@pytest.fixture
def ca(certificates: Any) -> Path:
    """The interception CA's certificate."""
    path: Path = certificates.intercept[0]
    return path


Reach = Callable[..., RoutedClient]


@pytest.fixture
def reach(site: HttpOrigin, tls_site: HttpOrigin, ca: Path) -> Reach:
    """`reach(proxy, way, host)`: a client that has the origin of this way in sight."""

    def make(proxy: ProxyProcess, way: str, host: str, trust: Path = ca) -> RoutedClient:
        server = tls_site if way == "tls" else site
        return RoutedClient(proxy.port(), way, host, server.port, trust=trust)

    return make


# -- the vendor's example -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "passes"),
    [("www.facebook.com", False), ("facebook.com", False), ("notfacebook.com", True), ("httpbin.org", True)],
)
@pytest.mark.parametrize("way", ["absolute", "connect"])
def test_social_networks_are_denied(way: str, host: str, passes: bool, guide: ProxyProcess, site: HttpOrigin) -> None:
    """`*.facebook.com` and `facebook.com` together are the domain with all below it, and no other name."""
    before = site.connections
    with WireClient(guide.port()) as client:
        authority = f"{host}:{site.port}"
        if way == "connect":
            response = client.connect(authority)
        else:
            response = client.ask("GET", f"http://{authority}/echo", authority)
    if passes:
        assert response.status == 200
    else:
        assert FORBIDDEN.fullmatch(response.head + response.body), response.head
        assert site.connections == before


@pytest.mark.parametrize("way", SEEN_WAYS)
@pytest.mark.parametrize(
    ("source", "host", "decided"),
    [
        (APPLICATION, "httpbin.org", "guide/app-to-httpbin"),
        (APPLICATION, "example.com", "default"),
        (OTHER, "httpbin.org", "default"),
        (UNKNOWN, "httpbin.org", "default"),
    ],
)
def test_a_network_is_let_out_to_one_host(
    way: str,
    source: str,
    host: str,
    decided: str,
    closed: ProxyProcess,
    site: HttpOrigin,
    tls_site: HttpOrigin,
    ca: Path,
) -> None:
    """app-to-httpbin: clients of vpc-0aaa may go to httpbin.org; both conditions have to hold, or the default decides.

    The record names the network. The later phases of the example hold for the client that is let out.
    """
    since = len(closed.records())
    port = (tls_site if way == "tls" else site).port
    passes = decided != "default"
    with WireClient(closed.port(), source=source) as client:
        if way == "absolute":
            response = client.ask("GET", f"http://{host}:{port}/echo", f"{host}:{port}")
        else:
            response = client.connect(f"{host}:{port}")
        if not passes:
            assert FORBIDDEN.fullmatch(response.head + response.body), response.head
    if passes:
        with RoutedClient(closed.port(), way, host, port, trust=ca, source=source) as client:
            assert client.fetch("/echo").status == 200
            assert client.fetch("/echo", method="POST", body=b"x=1").status == 403
    # Records of the tests before may still be coming.
    record = closed.wait_for_records(
        lambda r: (r["client_src_ip"], r["dest_domain"]) == (source, f"{host}."), since=since
    )[0]
    assert record.get("src_vpc") == {APPLICATION: "vpc-0aaa", OTHER: "vpc-0bbb"}.get(source)
    if passes:
        allowed = closed.wait_for_records(
            lambda r: (r["client_src_ip"], r.get("http_method")) == (source, "GET"), since=since
        )[0]
        assert allowed["all_matches"]["matches"][0] == entry(decided, "pre_dns", "allow")
        assert allowed["src_vpc"] == "vpc-0aaa"
    else:
        assert record["all_matches"]["matches"] == [entry("default", "pre_dns", "deny")]


@pytest.mark.parametrize("way", SEEN_WAYS)
def test_the_first_rule_decides_for_its_network(
    way: str, guide: ProxyProcess, site: HttpOrigin, tls_site: HttpOrigin, ca: Path
) -> None:
    """With everything else let out it is still app-to-httpbin that decides, and social that denies the same client."""
    since = len(guide.records())
    port = (tls_site if way == "tls" else site).port
    with RoutedClient(guide.port(), way, "httpbin.org", port, trust=ca, source=APPLICATION) as client:
        assert client.fetch("/echo").status == 200
    record = guide.wait_for_records(
        lambda r: (r["client_src_ip"], r["dest_domain"]) == (APPLICATION, "httpbin.org."), since=since
    )[0]
    assert record["all_matches"]["matches"][0] == entry("guide/app-to-httpbin", "pre_dns", "allow")
    with WireClient(guide.port(), source=APPLICATION) as refused:
        response = refused.connect(f"www.facebook.com:{port}")
    assert FORBIDDEN.fullmatch(response.head + response.body), response.head


def test_all_conditions_have_to_hold(guide: ProxyProcess, reach: Reach) -> None:
    """A client of no known network is not whom app-to-httpbin allows to go to httpbin.org: the default decides."""
    since = len(guide.records())
    with reach(guide, "absolute", "httpbin.org") as client:
        assert client.fetch("/echo").status == 200
    record = guide.wait_for_record(lambda r: r["dest_domain"] == "httpbin.org.", since=since)
    assert record["all_matches"]["matches"][0] == entry("default", "pre_dns", "allow")


@pytest.mark.parametrize("way", SEEN_WAYS)
def test_posts_are_denied(way: str, guide: ProxyProcess, reach: Reach, site: HttpOrigin, tls_site: HttpOrigin) -> None:
    """POST gets the vendor's 403 where HTTP is visible, inside the tunnel too, and the connection goes on."""
    mark = f"/echo/posts-{way}"
    with reach(guide, way, "httpbin.org") as client:
        response = client.fetch(mark + "-no", method="POST", body=b"x=1")
        assert FORBIDDEN.fullmatch(response.head + response.body), response.head
        assert client.fetch(mark + "-yes").status == 200
    server = tls_site if way == "tls" else site
    assert [seen.target for seen in server.seen(mark)] == [mark + "-yes"]


@pytest.mark.parametrize("way", SEEN_WAYS)
@pytest.mark.parametrize(
    ("content_type", "passes"),
    [
        ("application/octet-stream", False),
        ("application/octet-stream; charset=binary", False),
        ("application/octet", True),
        ("text/plain", True),
    ],
)
def test_binaries_are_denied(
    way: str,
    content_type: str,
    passes: bool,
    guide: ProxyProcess,
    reach: Reach,
    site: HttpOrigin,
    tls_site: HttpOrigin,
) -> None:
    """`application/octet-stream*` is the type with its parameters; the client gets a 403 in the response's place."""
    server = tls_site if way == "tls" else site
    path = "/files/" + re.sub(r"\W+", "-", content_type)
    server.serve_file(path, b"content-9381", content_type)
    with reach(guide, way, "httpbin.org") as client:
        response = client.fetch(path)
        head = client.fetch(path, method="HEAD")
    assert server.seen(path)
    if passes:
        assert (response.status, response.body) == (200, b"content-9381")
        assert head.status == 200
    else:
        assert FORBIDDEN.fullmatch(response.head + response.body), response.head
        assert FORBIDDEN.fullmatch(head.head)


def test_rules_on_http_miss_a_passed_through_tunnel(
    guide: ProxyProcess, reach: Reach, tls_site: HttpOrigin, certificates: Any
) -> None:
    """Method and content type of an opaque tunnel are nobody's: POST and binaries go through it."""
    tls_site.serve_file("/files/passed", b"content-9382", "application/octet-stream")
    with reach(guide, "tls", "passed.test", certificates.origin_ca) as client:
        assert client.fetch("/echo", method="POST", body=b"x=1").status == 200
        assert client.fetch("/files/passed").body == b"content-9382"


@pytest.mark.parametrize(
    ("url", "more", "codes"),
    [
        ("http://www.facebook.com:{plain}/", [], "000 403"),
        ("https://www.facebook.com:{tls}/", [], "403 000"),
        ("http://httpbin.org:{plain}/echo", ["-d", "x=1"], "000 403"),
        ("https://httpbin.org:{tls}/echo", ["-d", "x=1"], "200 403"),
        ("http://httpbin.org:{plain}/files/curl", [], "000 403"),
        ("https://httpbin.org:{tls}/files/curl", [], "200 403"),
        ("https://httpbin.org:{tls}/echo", [], "200 200"),
    ],
    ids=["PreDNS", "PreDNS-tls", "PreREQUEST", "PreREQUEST-tls", "PostRESPONSE", "PostRESPONSE-tls", "allowed"],
)
def test_what_curl_sees(
    url: str,
    more: list[str],
    codes: str,
    guide: ProxyProcess,
    site: HttpOrigin,
    tls_site: HttpOrigin,
    ca: Path,
    program: Callable[[str], str],
    clean_environment: Any,
    tmp_path: Path,
) -> None:
    """PreDNS answers the CONNECT itself with 403; the later phases answer inside the tunnel that stands."""
    for server in (site, tls_site):
        server.serve_file("/files/curl", b"content-9383", "application/octet-stream")
    done = subprocess.run(
        [
            program("curl"), "-q", "-s", "-o", "/dev/null", "-w", "%{http_connect} %{http_code}", "--cacert", str(ca),
            "--max-time", "20", "-x", f"http://127.0.0.1:{guide.port()}", *more,
            url.format(plain=site.port, tls=tls_site.port),
        ],
        capture_output=True, text=True, timeout=30, env=clean_environment(tmp_path), check=False,
    )  # fmt: skip
    assert done.stdout == codes, done.stderr


# -- names and paths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["absolute", "connect"])
@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("example.com", "exact"),
        ("EXAMPLE.com.", "exact"),
        ("www.example.com", "default"),
        ("xn--bcher-kva.example", "exact"),
        ("www.facebook.com", "below"),
        ("a.b.facebook.com", "below"),
        ("facebook.com", "default"),
        ("notfacebook.com", "default"),
        ("aws.amazon.com", "dotted"),
        ("docs.aws.amazon.com", "dotted"),
        ("notaws.amazon.com", "default"),
        ("amazon.com", "default"),
        ("glued.test", "glued"),
        ("www.glued.test", "glued"),
        ("unglued.test", "glued"),
    ],
)
def test_how_names_match(way: str, host: str, name: str, names: ProxyProcess, site: HttpOrigin) -> None:
    """`x` is that name, `.x` also all below it, `*.x` only what is below, `*x` every name that ends so.

    The record names the rule, and the host as an absolute name.
    """
    since = len(names.records())
    with WireClient(names.port()) as client:
        authority = f"{host}:{site.port}"
        if way == "connect":
            response = client.connect(authority)
        else:
            response = client.ask("GET", f"http://{authority}/echo", authority)
    assert response.status == (403 if name == "default" else 200)
    domain = host.lower().rstrip(".") + "."
    record = names.wait_for_record(lambda r: r.get("dest_domain") == domain, since=since)
    if name == "default":
        assert record["all_matches"]["matches"] == [entry("default", "pre_dns", "deny")]
    else:
        assert record["all_matches"]["matches"][0] == entry(f"names/{name}", "pre_dns", "allow")


@pytest.mark.parametrize("way", SEEN_WAYS)
@pytest.mark.parametrize(
    ("host", "path", "passes"),
    [
        ("start.test", "/admin/secret", False),
        ("start.test", "/admin", False),
        ("start.test", "/anything/admin/secret", True),
        ("anywhere.test", "/anything/admin/secret", False),
        ("anywhere.test", "/admin/secret", False),
        ("anywhere.test", "/echo?next=/admin", True),
    ],
)
def test_how_paths_match(way: str, host: str, path: str, passes: bool, ordered: ProxyProcess, reach: Reach) -> None:
    """A pattern for the path begins at its start; the query is no part of it."""
    with reach(ordered, way, host) as client:
        response = client.fetch(path)
    assert (response.status != 403) is passes, response.head


# -- the order ----------------------------------------------------------------------------------------------------

# The default ALERT of the last phase comes behind the alert of a rule; it is an alert, and lets pass.
END = [
    entry("two/note", "post_response", "alert"),
    entry("default", "post_response", "alert"),
    entry("default", "post_response", "allow"),
]


@pytest.mark.parametrize("way", SEEN_WAYS)
@pytest.mark.parametrize(
    ("host", "status", "first_alert", "matches"),
    [
        (
            "priority.test",
            200,
            "note",
            [entry("one/open", "pre_dns", "allow"), entry("default", "pre_request", "allow"), *END],
        ),
        (
            "late.test",
            403,
            "watch",
            [
                entry("one/watch", "pre_dns", "alert"),
                entry("two/watch", "pre_dns", "alert"),
                entry("three/last", "pre_dns", "deny"),
            ],
        ),
        (
            "ended.test",
            403,
            None,
            [entry("one/open", "pre_dns", "allow"), entry("three/later-phase", "pre_request", "deny")],
        ),
        (
            "placed.test",
            200,
            "note",
            [entry("one/placed-first", "pre_dns", "allow"), entry("default", "pre_request", "allow"), *END],
        ),
        (
            "noted.test",
            200,
            "watch",
            [
                entry("one/watch", "pre_dns", "alert"),
                entry("default", "pre_dns", "allow"),
                entry("default", "pre_request", "allow"),
                *END,
            ],
        ),
    ],
    ids=["priority", "alerts-go-on", "allow-ends-a-phase", "positions", "defaults"],
)
def test_in_which_order_rules_are_looked_at(
    way: str,
    host: str,
    status: int,
    first_alert: str | None,
    matches: list[dict[str, str]],
    ordered: ProxyProcess,
    reach: Reach,
) -> None:
    """Groups by their place in RuleGroups, rules by position; ALERT goes on, ALLOW ends its phase, DENY everything.

    The record has every match on the way in this order and nothing behind the end, and names the first alert.
    """
    since = len(ordered.records())
    with reach(ordered, way, host) as client:
        response = client.fetch("/echo")
    assert response.status == status
    record = ordered.wait_for_record(lambda r: r.get("dest_domain") == f"{host}.", since=since)
    assert record["all_matches"]["matches"] == matches
    assert record.get("first_alert_match") == first_alert
