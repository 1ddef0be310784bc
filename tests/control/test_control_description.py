"""The service description is the preview's, and the shipped files are what the tables print."""

import json
from pathlib import Path
from typing import Any

import pytest

import netfw.control
from netfw.control.api_document import render
from netfw.control.description import files, paginators, printed, service_description

REFERENCE = json.loads((Path(__file__).parents[1] / "conformance" / "control_api.json").read_text())
SHIPPED = Path(netfw.control.__file__).parent / "botocore"
OWN = service_description(extensions=False)


def without_prose(operation: dict[str, Any]) -> dict[str, Any]:
    """What the reference has of an operation."""
    return {name: value for name, value in operation.items() if name != "documentation"}


def test_the_metadata_is_the_previews() -> None:
    """Protocol, target prefix and signing name are what clients of the preview send."""
    assert OWN["metadata"] == REFERENCE["metadata"]
    assert OWN["version"] == REFERENCE["version"]


def test_there_are_the_22_operations_and_the_three_of_tags() -> None:
    """No more and no fewer."""
    assert sorted(OWN["operations"]) == sorted(REFERENCE["operations"])
    assert len(OWN["operations"]) == 25


@pytest.mark.parametrize("name", sorted(REFERENCE["operations"]))
def test_an_operation_is_the_previews(name: str) -> None:
    """Input, output and the errors in their order."""
    assert without_prose(OWN["operations"][name]) == REFERENCE["operations"][name]


def test_there_are_no_other_shapes() -> None:
    """Leaving out what is ours alone leaves nothing of it behind."""
    assert sorted(OWN["shapes"]) == sorted(REFERENCE["shapes"])


@pytest.mark.parametrize("name", sorted(REFERENCE["shapes"]))
def test_a_shape_is_the_previews(name: str) -> None:
    """Members, types, required ones and every bound."""
    assert OWN["shapes"][name] == REFERENCE["shapes"][name]
    assert list(OWN["shapes"][name].get("members", ())) == list(REFERENCE["shapes"][name].get("members", ()))


def test_the_lists_come_in_pages_as_in_the_preview() -> None:
    """Tokens, limit and result by the same names."""
    assert paginators()["pagination"] == REFERENCE["pagination"]


def test_what_is_ours_is_three_annotations_of_rules() -> None:
    """An end, an owner and a ticket; nothing of the preview's is changed by them."""
    whole = service_description()
    assert sorted(set(whole["shapes"]) - set(OWN["shapes"])) == ["NotAfter", "Owner", "Ticket"]
    changed = [name for name, shape in OWN["shapes"].items() if whole["shapes"][name] != shape]
    assert changed == ["CreateProxyRule", "ProxyRule", "UpdateProxyRuleRequest"]


def test_the_shipped_files_are_what_the_tables_print() -> None:
    """Run `python -m netfw.control.description netfw/control/botocore` after a change of the tables."""
    shipped = {str(path.relative_to(SHIPPED)): path.read_text() for path in SHIPPED.rglob("*.json")}
    assert shipped == {name: printed(content) for name, content in files().items()}


def test_the_documented_api_is_what_the_tables_print() -> None:
    """Run `python -m netfw.control.api_document > docs/api.md` after a change of the tables."""
    assert (Path(__file__).parents[2] / "docs" / "api.md").read_text() == render()


def test_the_documentation_has_every_operation() -> None:
    """And every shape that has a bound."""
    page = render()
    for name, shape in OWN["shapes"].items():
        if shape.keys() & {"min", "max", "enum", "pattern"}:
            assert f"| `{name}` |" in page
    for name in OWN["operations"]:
        assert f"### {name}\n" in page
