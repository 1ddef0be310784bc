"""Secrets of outputs: from files and variables, told apart from nothing, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from netfw.config.delivery_model import AwsSection, AwsService, DeliverySection, HttpSection, SecretSource, SpoolSection
from netfw.telemetry.delivery_secrets import AwsKeys, DeliverySecretProblem, HttpCredentials, read_delivery_secrets
from netfw.testing.pki import TestAuthority

AWS_FILE = """[default]
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key = s3cret%key
[other]
aws_access_key_id = AKIDOTHER
aws_secret_access_key = s3cret
aws_session_token = s3cret-token
[half]
aws_access_key_id = AKIDHALF
"""


def http(**settings: object) -> DeliverySection:
    return DeliverySection(SpoolSection(Path("/s")), http=HttpSection("https://siem.test/", **settings))  # type: ignore[arg-type]


def aws(path: Path, profile: str | None = None) -> DeliverySection:
    section = AwsSection(AwsService.S3, "b", credentials=path, profile=profile)
    return DeliverySection(SpoolSection(Path("/s")), aws=section)


def read(section: DeliverySection, environment: dict[str, str] | None = None) -> HttpCredentials | AwsKeys | None:
    return read_delivery_secrets(section, lambda path: path, environment or {})


def test_fields_come_from_the_first_line_of_a_file_and_from_variables(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer s3cret\nanother line\n")
    secrets = {"Authorization": SecretSource(tmp_path / "token"), "X-Key": SecretSource(None, "KEY")}
    found = read(http(headers={"X-Team": "blue"}, secrets=secrets), {"KEY": " k3y\n"})
    assert isinstance(found, HttpCredentials)
    assert found.headers == {"X-Team": "blue", "Authorization": "Bearer s3cret", "X-Key": "k3y"}
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "first line is empty"),
        (b"\ns3cret", "is empty"),
        (b"s3cret\xff", "not ASCII"),
        (b"s3cret\x01", "holds what"),
    ],
)
def test_what_is_no_fields_value_is_refused_and_not_quoted(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(DeliverySecretProblem, match=words) as raised:
        read(http(secrets={"X": SecretSource(tmp_path / "token")}))
    assert str(raised.value).startswith(str(tmp_path / "token")) and "s3cret" not in str(raised.value)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeliverySecretProblem, match=r"\$KEY: is not set"):
        read(http(secrets={"X": SecretSource(None, "KEY")}))
    with pytest.raises(DeliverySecretProblem, match="missing: cannot be read: No such file"):
        read(http(secrets={"X": SecretSource(tmp_path / "missing")}))


def test_certificates_are_tried_when_they_are_read(tmp_path: Path) -> None:
    authority = TestAuthority()
    certificate, key = authority.issue("proxy.test")
    _, another = authority.issue("proxy.test")
    for name, content in (("me.pem", certificate), ("me.key", key), ("another.key", another)):
        (tmp_path / name).write_bytes(content)
    found = read(http(certificate=tmp_path / "me.pem", private_key=tmp_path / "me.key"))
    assert isinstance(found, HttpCredentials) and found.certificate is not None
    for changes in (
        {"certificate": tmp_path / "me.pem", "private_key": tmp_path / "another.key"},
        {"certificate": tmp_path / "me.key", "private_key": tmp_path / "me.key"},
        {"ca": tmp_path / "me.key"},
    ):
        with pytest.raises(DeliverySecretProblem, match="cannot be used for TLS"):
            read(http(**changes))


def test_keys_of_aws_come_from_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(AWS_FILE)
    assert read(aws(file)) == AwsKeys("AKIDEXAMPLE", "s3cret%key")
    assert read(aws(file, "other")) == AwsKeys("AKIDOTHER", "s3cret", "s3cret-token")
    for profile in ("half", "missing"):
        with pytest.raises(DeliverySecretProblem, match=rf"section \[{profile}\]"):
            read(aws(file, profile))
    file.write_text("s3cret without a section\n")
    with pytest.raises(DeliverySecretProblem, match="no file of credentials") as raised:
        read(aws(file))
    assert "s3cret" not in str(raised.value)
    nothing = DeliverySection(SpoolSection(Path("/s")), aws=AwsSection(AwsService.S3, "b"))
    assert read(nothing) is None
