"""Profiles: from the file, from the environment, and which comes first."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from netfw.cli.credentials import Profile, credentials_file, find_profile, write_profile

KEY = {"AWS_ACCESS_KEY_ID": "NFWKENV", "AWS_SECRET_ACCESS_KEY": "env"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose file is not there yet."""
    return {"NETFW_CREDENTIALS": str(tmp_path / "netfw" / "credentials")}


def write(environment: dict[str, str], text: str) -> Path:
    """The file, with this in it."""
    path = credentials_file(environment)
    path.parent.mkdir(exist_ok=True)
    path.touch(0o600)
    path.write_text(text)
    return path


def test_what_is_written_is_found(environment: dict[str, str]) -> None:
    """Beside other profiles, in a file that is its owner's alone."""
    one = Profile("https://a:1", "NFWK1", "s%1", ca_certificate="/ca.pem", proxy="berlin")
    write_profile("default", Profile("https://b:2", "NFWK2", "s2"), environment)
    path = write_profile("site", one, environment)
    assert path.stat().st_mode & 0o777 == 0o600
    assert find_profile("site", environment) == one
    assert find_profile(None, environment).endpoint == "https://b:2"
    assert find_profile(None, {**environment, "NETFW_PROFILE": "site"}) == one
    assert "s%1" not in repr(one)


def test_the_environment_comes_before_the_default_and_after_what_is_named(environment: dict[str, str]) -> None:
    """Who names a profile means its key."""
    write_profile("default", Profile("https://b:2", "NFWK2", "s2"), environment)
    found = find_profile(None, {**environment, **KEY, "NETFW_ENDPOINT": "https://c:3", "AWS_REGION": "eu-north-1"})
    assert found == Profile("https://c:3", "NFWKENV", "env", "eu-north-1")
    assert find_profile("default", {**environment, **KEY}).access_key_id == "NFWK2"


def test_without_a_file_there_is_what_the_environment_says(environment: dict[str, str]) -> None:
    """Which may be nothing."""
    assert find_profile(None, environment) == Profile()
    assert find_profile(None, {**environment, **KEY}).access_key_id == "NFWKENV"
    with pytest.raises(click.ClickException, match="go together"):
        find_profile(None, {**environment, "AWS_ACCESS_KEY_ID": "x"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[site]\nendpoint = x\n[b]\n", "no profile none; it has: site, b"),
        ("[none]\nsecret = x\n", "'secret', which is not known"),
        ("[none]\naccess_key_id = x\n", "needs both"),
        ("endpoint = x\n", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(environment: dict[str, str], text: str, said: str) -> None:
    """With its place and what is wrong."""
    write(environment, text)
    with pytest.raises(click.ClickException, match=said):
        find_profile("none", environment)


def test_a_profile_of_no_file_is_refused(environment: dict[str, str]) -> None:
    """With how one is made."""
    with pytest.raises(click.ClickException, match="netfw key create --profile"):
        find_profile("none", environment)


def test_a_file_that_others_can_read_is_refused(environment: dict[str, str]) -> None:
    """Secrets are in it."""
    write(environment, "[default]\n").chmod(0o644)
    with pytest.raises(click.ClickException, match="chmod 0600"):
        find_profile(None, environment)


def test_the_usual_place_is_below_the_home() -> None:
    """Or where XDG says."""
    assert credentials_file({"XDG_CONFIG_HOME": "/x"}) == Path("/x/netfw/credentials")
    assert credentials_file({}) == Path.home() / ".config/netfw/credentials"
