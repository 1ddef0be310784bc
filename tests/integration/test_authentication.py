"""Who asks: passwords and certificates on the listener, as real clients use them."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.config.password_hash import make_hash
from netfw.testing.chromium import Chromium
from netfw.testing.client_programs import Setting
from netfw.testing.origins import HttpOrigin
from netfw.testing.pki import CLIENT_AUTH, TestAuthority
from netfw.testing.proxy_process import ProxyProcess, condition, policy, rule
from netfw.testing.revocation import make_crl
from netfw.testing.wire_client import WireClient, WireResponse
from netfw.x509.reading import certificates_from_pem

WORKERS = [0, 2]
SECRET = "correct horse battery"


def basic(name: str, password: str = SECRET) -> str:
    """The field."""
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def by_name() -> dict[str, Any]:
    """Everybody may do everything but bob, who may do nothing."""
    return policy(
        groups={"who": {"PreDNS": [rule("no-bob", "DENY", condition("request:ClientIdentity", "StringEquals", "bob"))],
                        "PreREQUEST": [], "PostRESPONSE": []}}
    )  # fmt: skip


def listener(**more: Any) -> list[dict[str, Any]]:
    return [{"name": "plain", "type": "HTTP", "address": "127.0.0.1", "port": 0, "clients": ["127.0.0.0/8"], **more}]


def users_file(directory: Path, *names: str) -> Path:
    file = directory / "users"
    file.write_text("".join(f"{name}:{make_hash(SECRET.encode()).text}\n" for name in names))
    return file


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """alice and bob."""
    return users_file(tmp_path, "alice", "bob")


def get(client: WireClient, origin: HttpOrigin, *fields: str) -> WireResponse:
    return client.ask("GET", f"http://127.0.0.1:{origin.port}/echo/x", f"127.0.0.1:{origin.port}", *fields)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_password_gives_an_identity(workers: int, make_proxy: Any, origin: HttpOrigin, users: Path) -> None:
    """407 without it, on a connection that stays; then 200 and the name in the record; 403 is the rules' word."""
    proxy = make_proxy(by_name(), listeners=listener(users=str(users)), workers=workers)
    with WireClient(proxy.port()) as client:
        asked = get(client, origin)
        assert asked.status == 407
        assert asked.single("Proxy-Authenticate") == 'Basic realm="netfw", charset="UTF-8"'
        assert get(client, origin, basic("alice", "wrong")).status == 407
        assert get(client, origin, basic("nobody")).status == 407
        assert get(client, origin, basic("alice")).status == 200
        denied = get(client, origin, basic("bob"))
        assert denied.status == 403 and denied.single("Proxy-Authenticate") is None
        assert get(client, origin).status == 407, "each request says who asks"
        assert get(client, origin, basic("alice")).status == 200
    assert all(request.single("Proxy-Authorization") is None for request in origin.requests)
    record = proxy.wait_for_records(lambda r: r.get("http_status_code") == 200, 2)[-1]
    assert record["client_identity"] == "alice"
    refused = proxy.wait_for_records(lambda r: r.get("http_status_code") == 407, 4)
    assert all("client_identity" not in record for record in refused)
    written = proxy.records_path.read_text() + proxy.log
    assert SECRET not in written and base64.b64encode(f"alice:{SECRET}".encode()).decode() not in written


@pytest.mark.parametrize(
    "field",
    [
        "Proxy-Authorization: Bearer x",
        "Proxy-Authorization: Basic",
        "Proxy-Authorization: Basic !!!!",
        "Proxy-Authorization: Basic " + base64.b64encode(b"no colon").decode(),
        "Proxy-Authorization: Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Proxy-Authorization: Basic " + base64.b64encode(b"alice:" + b"x" * 4000).decode(),
        basic("alice\x00", SECRET),
        basic("", SECRET),
        basic("alice:", SECRET),
        f"Authorization: {basic('alice').partition(': ')[2]}",
    ],
)
def test_nothing_else_will_do(field: str, proxy: ProxyProcess, origin: HttpOrigin) -> None:
    """Other schemes, and what cannot be read, are asked again; the origin sees none of it."""
    before = len(origin.requests)
    with WireClient(proxy.port()) as client:
        assert get(client, origin, field).status == 407
    assert len(origin.requests) == before


@pytest.fixture(scope="module")
def proxy(proxy_maker: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One for the tests that only ask."""
    file = users_file(tmp_path_factory.mktemp("users"), "alice", "bob")
    with proxy_maker("passwords", by_name(), intercept=True, listeners=listener(users=str(file))) as made:
        yield made


def test_two_fields_are_one_too_many(proxy: ProxyProcess, origin: HttpOrigin) -> None:
    """Who would be meant?"""
    with WireClient(proxy.port()) as client:
        assert get(client, origin, basic("alice"), basic("bob")).status == 400


def test_pages_of_our_own_are_for_everybody(proxy: ProxyProcess) -> None:
    """A client needs them to be set up."""
    with WireClient(proxy.port()) as client:
        assert client.ask("GET", "/ca.pem", "proxy").status == 200


def test_inside_a_tunnel_it_is_who_asked_for_it(proxy: ProxyProcess, tls_origin: HttpOrigin, certificates: Any) -> None:
    """Intercepted requests have the identity of the CONNECT, and no field of theirs changes it or goes on."""
    since = len(proxy.records())
    with WireClient(proxy.port()) as client:
        authority = f"origin.test:{tls_origin.port}"
        assert client.ask("CONNECT", authority, authority).status == 407
        assert client.ask("CONNECT", authority, authority, basic("alice")).status == 200
        client.start_tls(certificates.intercept[0], "origin.test")
        answer = client.ask("GET", "/echo", authority, basic("bob"))
        assert answer.status == 200
        assert "Proxy-Authorization" not in dict(json.loads(answer.body)["fields"])
    record = proxy.wait_for_record(lambda r: r.get("http_method") == "GET", since=since)
    assert record["client_identity"] == "alice"


def test_curl_and_git_find_their_way(
    proxy: ProxyProcess, tls_origin: HttpOrigin, certificates: Any, program: Callable[[str], str], tmp_path: Path,
    clean_environment: Any,
) -> None:  # fmt: skip
    """Also those that send a password only when they are asked: `curl --proxy-anyauth`, git."""
    url = f"https://origin.test:{tls_origin.port}"
    way = ["-s", "-o", "/dev/null", "-w", "%{http_code} %{http_connect}", "--cacert", str(certificates.intercept[0])]
    at = f"http://127.0.0.1:{proxy.port()}"

    def curl(*more: str) -> str:
        done = subprocess.run(
            [program("curl"), *way, "-x", at, *more, f"{url}/echo"], capture_output=True, text=True, timeout=60,
            env=clean_environment(tmp_path),
        )  # fmt: skip
        return done.stdout

    assert curl("--proxy-user", f"alice:{SECRET}") == "200 200"
    assert curl("--proxy-anyauth", "--proxy-user", f"alice:{SECRET}") == "200 200"
    assert curl("--proxy-anyauth", "--proxy-user", "alice:wrong") == "000 407"
    environment = clean_environment(
        tmp_path, https_proxy=f"http://alice:{SECRET.replace(' ', '%20')}@127.0.0.1:{proxy.port()}",
        GIT_SSL_CAINFO=str(certificates.intercept[0]), GIT_TERMINAL_PROMPT="0",
    )  # fmt: skip
    done = subprocess.run(
        [program("git"), "ls-remote", f"{url}/none.git"], capture_output=True, text=True, timeout=60, env=environment
    )
    # The origin has no repository: that it says so is the way through.
    assert "407" not in done.stderr and done.returncode != 0
    assert proxy.wait_for_records(lambda r: (r.get("url") or {}).get("path", "").startswith("/none.git"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_browser_finds_its_way(
    scheme: str, proxy: ProxyProcess, origin: HttpOrigin, tls_origin: HttpOrigin, certificates: Any,
    program: Callable[[str], str], tmp_path: Path, clean_environment: Any,
) -> None:  # fmt: skip
    """Chromium sends a password when it is asked, once for all that follows; the origin never sees it."""
    program("chromium"), program("certutil")
    server, since = tls_origin if scheme == "https" else origin, len(proxy.records())
    setting = Setting(f"http://127.0.0.1:{proxy.port()}", certificates.intercept[0], tmp_path)
    with Chromium(setting, clean_environment(tmp_path), user="alice", password=SECRET) as browser:
        for page in ("one", "two"):
            shown = json.loads(browser.fetch(f"{scheme}://origin.test:{server.port}/echo/{page}"))
            assert shown["target"] == f"/echo/{page}"
            assert "proxy-authorization" not in {name.lower() for name, _ in shown["fields"]}
        assert browser.asked == 1
    found = proxy.wait_for_records(lambda r: (r.get("url") or {}).get("path", "").startswith("/echo/"), 2, since=since)
    answered = [record for record in found if record.get("http_status_code") == 200]
    assert {record["client_identity"] for record in answered} == {"alice"}


def test_a_browser_with_a_wrong_password(
    proxy: ProxyProcess, tls_origin: HttpOrigin, certificates: Any, program: Callable[[str], str], tmp_path: Path,
    clean_environment: Any,
) -> None:  # fmt: skip
    """It is asked again, and shows no page of the origin's when it has nothing more to say."""
    program("chromium"), program("certutil")
    setting = Setting(f"http://127.0.0.1:{proxy.port()}", certificates.intercept[0], tmp_path)
    seen = len(tls_origin.requests)
    with Chromium(setting, clean_environment(tmp_path), user="alice", password="wrong") as browser:
        shown = browser.fetch(f"https://origin.test:{tls_origin.port}/echo/never")
        assert browser.asked == 2
    assert "/echo/never" not in shown
    assert len(tls_origin.requests) == seen


def test_guessing_is_slow(make_proxy: Any, origin: HttpOrigin, users: Path) -> None:
    """After ten wrong passwords an address waits; who was let in lately is not shut out by it."""
    proxy = make_proxy(by_name(), listeners=listener(users=str(users)))
    with WireClient(proxy.port(), timeout=60.0) as client:
        assert get(client, origin, basic("alice")).status == 200
        seen: list[int] = []
        # As long as it takes: on a busy machine the time that hashing takes gives some attempts back.
        while 429 not in seen and len(seen) < 60:
            seen.append(get(client, origin, basic("alice", f"guess {len(seen)}")).status)
        assert set(seen) == {407, 429} and seen[:10] == [407] * 10
        limited = get(client, origin, basic("alice", "another"))
        if limited.status == 429:
            assert int(limited.single("Retry-After") or "0") >= 1
        assert get(client, origin, basic("alice", "guess 1")).status == 407, "what was wrong is wrong without a hash"
        assert get(client, origin, basic("alice")).status == 200


def reload_with(proxy: ProxyProcess, listeners: list[dict[str, Any]]) -> list[str]:
    """What was taken over; nothing waits."""
    proxy.config_path.write_text(yaml.safe_dump({**proxy.config, "listeners": listeners}, sort_keys=False))
    _code, body = proxy.admin("/reload", "POST", 120.0)
    report = json.loads(body)
    assert report["ok"], report
    assert not report.get("settings_waiting_for_restart"), report
    taken: list[str] = report["settings_taken"]
    return taken


@pytest.mark.parametrize("workers", WORKERS)
def test_passwords_come_and_go(workers: int, make_proxy: Any, origin: HttpOrigin, users: Path) -> None:
    """By a reload: a connection that is open is asked from its next request on, and has no name when that is over."""
    proxy = make_proxy(by_name(), listeners=listener(), workers=workers)

    def ask(client: WireClient, *fields: str) -> int:
        return get(client, origin, *fields).status

    with WireClient(proxy.port(), timeout=60.0) as kept:
        assert ask(kept) == 200
        assert reload_with(proxy, listener(users=str(users), realm="the lab")) == [
            "listeners[plain].users", "listeners[plain].realm",
        ]  # fmt: skip
        proxy.wait_until(lambda: ask(kept) == 407, timeout=60)
        assert ask(kept, basic("alice")) == 200
        assert ask(kept, basic("bob")) == 403
        with WireClient(proxy.port(), timeout=60.0) as fresh:
            assert get(fresh, origin).single("Proxy-Authenticate") == 'Basic realm="the lab", charset="UTF-8"'
        assert reload_with(proxy, listener(users=str(users))) == ["listeners[plain].realm"]
        proxy.wait_until(lambda: 'realm="netfw"' in str(get(kept, origin).single("Proxy-Authenticate")), timeout=60)
        assert ask(kept, basic("alice")) == 200
        assert reload_with(proxy, listener()) == ["listeners[plain].users"]
        proxy.wait_until(lambda: ask(kept) == 200, timeout=60)
        since = len(proxy.records())
        assert ask(kept) == 200
    assert "client_identity" not in proxy.wait_for_records(lambda r: r.get("http_status_code") == 200, since=since)[-1]


@pytest.mark.parametrize("workers", [2])
def test_certificates_of_clients_come_and_go(
    workers: int, make_proxy: Any, origin: HttpOrigin, certificates: Any, tmp_path: Path
) -> None:
    """By a reload: wanted of every client, of who has one, and of none."""
    authority, wants = mutual(tmp_path, certificates)
    alice = authority.issue(common_name="alice", purpose=CLIENT_AUTH)
    bob = authority.issue(common_name="bob", purpose=CLIENT_AUTH)
    without = [{name: value for name, value in wants[0].items() if name != "client_ca"}]
    proxy = make_proxy(by_name(), listeners=without, workers=workers)
    assert visit(proxy, origin, bob, tmp_path) == 200  # nobody asks for it
    assert reload_with(proxy, wants) == ["listeners[plain].client_ca"]
    proxy.wait_until(lambda: visit(proxy, origin, None, tmp_path) == 0, timeout=60)
    assert [visit(proxy, origin, pem, tmp_path) for pem in (alice, bob)] == [200, 403]
    assert reload_with(proxy, [{**wants[0], "client_certificate": "optional"}]) == ["listeners[plain].client_required"]
    proxy.wait_until(lambda: visit(proxy, origin, None, tmp_path) == 200, timeout=60)
    assert visit(proxy, origin, bob, tmp_path) == 403
    assert set(reload_with(proxy, without)) == {"listeners[plain].client_ca", "listeners[plain].client_required"}
    proxy.wait_until(lambda: visit(proxy, origin, bob, tmp_path) == 200, timeout=60)


@pytest.mark.parametrize("workers", WORKERS)
def test_users_are_read_again(workers: int, make_proxy: Any, origin: HttpOrigin, users: Path) -> None:
    """Who is taken out gets in no more, whatever was remembered; who is added does. The command writes the file."""
    proxy = make_proxy(by_name(), listeners=listener(users=str(users)), workers=workers)

    def status(name: str, password: str = SECRET) -> int:
        with WireClient(proxy.port(), timeout=60.0) as client:
            return get(client, origin, basic(name, password)).status

    assert status("alice") == 200
    for arguments, typed in ((["remove", str(users), "alice"], ""), (["add", str(users), "carol"], "long enough\n")):
        done = subprocess.run(
            [sys.executable, "-m", "netfw.cli.main", "user", *arguments], input=typed, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    _code, body = proxy.admin("/reload", "POST", 120.0)
    assert json.loads(body)["ok"], body
    proxy.wait_until(lambda: status("alice") == 407, timeout=60)
    assert status("carol", "long enough") == 200
    users.write_text("alice:{SHA}nonsense\n")
    _code, body = proxy.admin("/reload", "POST", 120.0)
    report = json.loads(body)
    assert not report["ok"] and "SHA-1" in report["problems"][0] and str(users) in report["problems"][0]
    assert status("carol", "long enough") == 200


def mutual(tmp_path: Path, certificates: Any, **more: Any) -> tuple[TestAuthority, list[dict[str, Any]]]:
    authority = TestAuthority("Clients' CA")
    ca = tmp_path / "clients.pem"
    ca.write_bytes(authority.certificate_pem)
    return authority, listener(
        type="HTTPS", certificate=str(certificates.listener[0]), private_key=str(certificates.listener[1]),
        client_ca=str(ca), **more,
    )  # fmt: skip


def visit(proxy: ProxyProcess, origin: HttpOrigin, pem: tuple[bytes, bytes] | None, directory: Path, *more: str) -> int:
    """One request over TLS with this certificate; 0 when TLS does not come about."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pem is not None:
        (directory / "c.pem").write_bytes(pem[0])
        (directory / "c.key").write_bytes(pem[1])
        context.load_cert_chain(directory / "c.pem", directory / "c.key")
    try:
        with WireClient(proxy.port()) as client:
            client.start_tls(None, None, context=context)
            return get(client, origin, *more).status
    except (OSError, AssertionError, EOFError):
        return 0


@pytest.mark.parametrize("workers", WORKERS)
def test_a_certificate_gives_an_identity(
    workers: int, make_proxy: Any, origin: HttpOrigin, certificates: Any, tmp_path: Path
) -> None:
    """Of the clients' CA, for clients, in date and on no list; nobody else gets a word in, and rules know the name."""
    crl = tmp_path / "clients.crl"
    authority, listeners = mutual(tmp_path, certificates, client_crl_files=str(crl))
    crl.write_bytes(make_crl(authority))
    proxy = make_proxy(by_name(), listeners=listeners, workers=workers)
    alice = authority.issue(common_name="alice", purpose=CLIENT_AUTH)
    assert visit(proxy, origin, alice, tmp_path) == 200
    assert visit(proxy, origin, authority.issue(common_name="bob", purpose=CLIENT_AUTH), tmp_path) == 403
    assert proxy.wait_for_record(lambda r: r.get("http_status_code") == 200)["client_identity"] == "alice"
    assert visit(proxy, origin, None, tmp_path) == 0
    for wrong in (
        TestAuthority("Clients' CA").issue(common_name="alice", purpose=CLIENT_AUTH),
        authority.issue(common_name="alice", purpose=CLIENT_AUTH, expired=True),
        authority.issue("alice.test"),
    ):
        assert visit(proxy, origin, wrong, tmp_path) == 0
    crl.write_bytes(make_crl(authority, certificates_from_pem(alice[0])[0]))
    _code, body = proxy.admin("/reload", "POST", 120.0)
    assert json.loads(body)["ok"], body
    proxy.wait_until(lambda: visit(proxy, origin, alice, tmp_path) == 0, timeout=60)


def test_a_certificate_or_a_password(
    make_proxy: Any, origin: HttpOrigin, certificates: Any, tmp_path: Path, users: Path
) -> None:
    """Who shows a certificate is asked for no password; a wrong certificate is no reason to ask for one."""
    authority, listeners = mutual(tmp_path, certificates, users=str(users), client_certificate="optional")
    proxy = make_proxy(by_name(), listeners=listeners)
    assert visit(proxy, origin, authority.issue(common_name="carol", purpose=CLIENT_AUTH), tmp_path) == 200
    assert visit(proxy, origin, None, tmp_path) == 407
    assert visit(proxy, origin, None, tmp_path, basic("alice")) == 200
    assert visit(proxy, origin, None, tmp_path, basic("bob")) == 403
    stranger = TestAuthority("Stranger").issue(common_name="carol", purpose=CLIENT_AUTH)
    assert visit(proxy, origin, stranger, tmp_path, basic("alice")) == 0
    bob = authority.issue(common_name="bob", purpose=CLIENT_AUTH)
    assert visit(proxy, origin, bob, tmp_path, basic("alice")) == 403
