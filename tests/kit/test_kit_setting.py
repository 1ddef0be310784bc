"""What people type for a proxy and for what goes round it."""

from __future__ import annotations

import pytest

from netfw.kit.setting import SettingError, no_proxy_from, proxy_from_url


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://egress:3128", "http://egress:3128"),
        ("HTTP://EGRESS.example.com:3128/", "http://egress.example.com:3128"),
        ("egress", "http://egress:3128"),
        ("egress:8080", "http://egress:8080"),
        ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),
        ("http://[2001:DB8::1]:3128", "http://[2001:db8::1]:3128"),
        ("bücher.example:3128", "http://xn--bcher-kva.example:3128"),
    ],
)
def test_proxies(typed: str, url: str) -> None:
    """They come out in one spelling."""
    assert proxy_from_url(typed).url == url


@pytest.mark.parametrize(
    "typed",
    ["", "http://", "http://a:0", "http://a:99999", "socks5://a:1080", "http://u:p@a:3128", "http://a:1/path",
     "http://a:1?x", "a b", "http://a;x:1", "http://$(id):1", "http://[::1:1", "http://::1:1", "http://a\n:1"],
)  # fmt: skip
def test_refused_proxies(typed: str) -> None:
    """What a shell or a client could read differently is not taken."""
    with pytest.raises(SettingError):
        proxy_from_url(typed)


def test_names_that_go_round() -> None:
    """Lists of any kind, in one spelling, each once; a leading dot is dropped."""
    assert no_proxy_from(("localhost, .Example.com 10.0.0.1", "example.com,[::1]")) == (
        "localhost", "example.com", "10.0.0.1", "::1",
    )  # fmt: skip
    assert no_proxy_from(("",)) == ()


@pytest.mark.parametrize("typed", ["10.0.0.0/8", "*", "*.example.com", "a.test:8080", "a;b", "'"])
def test_what_clients_read_differently_is_refused(typed: str) -> None:
    """Half of them would send what was meant to go round through the proxy, or the reverse."""
    with pytest.raises(SettingError):
        no_proxy_from((typed,))
