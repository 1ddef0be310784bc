"""docs/api.md, printed from the tables: `python -m netfw.control.api_document > docs/api.md`; a test compares them.

The prose is in `api_text`. Not here: the description for SDKs (`description`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import fields

from netfw.config import defaults
from netfw.config.model import Quotas
from netfw.control.api_text import TEMPLATE
from netfw.control.description import all_shapes
from netfw.control.own_model import OWN_OPERATIONS
from netfw.control.refusals import Refusal
from netfw.control.service_model import OPERATIONS, OWN_TARGET_PREFIX, Operation
from netfw.control.shapes import Flag, ListOf, Member, Moment, Number, Shape, Structure, Text

_SHAPES = all_shapes(operations=(*OPERATIONS, *OWN_OPERATIONS))
_QUOTA_TEXTS = {
    "proxies": "proxies",
    "configurations": "configurations",
    "rule_groups": "rule groups",
    "proxies_per_configuration": "proxies that follow one configuration",
    "groups_per_configuration": "rule groups of a configuration",
    "rules_per_group": "rules of a group, all phases together",
    "value_size": "bytes of one condition value",
    "rule_size": "bytes of a rule's keys and values",
    "group_size": "bytes of a group's keys and values",
    "tags_per_resource": "tags of a resource",
}


def render() -> str:
    """The page."""
    return TEMPLATE.format(
        operations="\n\n".join(_operations(OPERATIONS)),
        own_operations="\n\n".join(_operations(OWN_OPERATIONS)),
        own_prefix=OWN_TARGET_PREFIX,
        structures=_table(("structure", "members"), _structure_rows()),
        bounds=_table(("shape", "type", "bounds"), _bound_rows()),
        errors=_table(("`__type`", "HTTP", "when"), _error_rows()),
        quotas=_table(("`control.quotas`", "default", "vendor", "of what"), _quota_rows()),
    )


def _operations(operations: Iterable[Operation]) -> Iterable[str]:
    for operation in operations:
        takes = ", ".join(_member(member) for member in operation.input.members) or "nothing"
        gives = ", ".join(_member(member) for member in operation.output.members) or "nothing"
        errors = ", ".join(f"`{error}`" for error in operation.errors)
        yield f"### {operation.name}\n\n{operation.about}\n\n* takes {takes}\n* gives {gives}\n* errors {errors}"


def _member(member: Member) -> str:
    marked = f"**{member.name}**" if member.required or member.demanded else member.name
    ours = " (ours)" if member.extension else ""
    return f"{marked}: {_type(member.shape)}{ours}"


def _type(shape: Shape) -> str:
    if isinstance(shape, ListOf):
        return f"[{_type(shape.item)}]"
    if isinstance(shape, Structure):
        return f"`{shape.name}`"
    if isinstance(shape, Moment):
        return "time"
    if isinstance(shape, Flag):
        return "true \\| false"
    if isinstance(shape, Text) and shape.words:
        return " \\| ".join(shape.words)
    return shape.name


def _structure_rows() -> Iterable[tuple[str, ...]]:
    for name, shape in sorted(_SHAPES.items()):
        if isinstance(shape, Structure) and not shape.exception and not name.endswith(("Request", "Response")):
            yield f"`{name}`", ", ".join(_member(member) for member in shape.members)
    for name in (
        "ListenerPropertyRequest",
        "ProxyConfigDefaultRulePhaseActionsRequest",
        "TlsInterceptPropertiesRequest",
    ):
        shape = _SHAPES[name]
        assert isinstance(shape, Structure)
        yield f"`{name}`", ", ".join(_member(member) for member in shape.members)


def _bound_rows() -> Iterable[tuple[str, ...]]:
    for name, shape in sorted(_SHAPES.items()):
        if isinstance(shape, Text):
            least, most, kind = shape.least, shape.most if shape.most is not None else shape.own_most, "text"
            extra = [f"`{shape.pattern}`".replace("|", "\\|")] if shape.pattern is not None else []
            extra += [", ".join(shape.words)] if shape.words else []
        elif isinstance(shape, Number):
            least = shape.least if shape.least is not None else shape.own_least
            most = shape.most if shape.most is not None else shape.own_most
            kind, extra = "whole number", []
        elif isinstance(shape, ListOf):
            least, most, kind = shape.least if shape.least is not None else shape.own_least, shape.most, "list"
            extra = [f"of {_type(shape.item)}"]
        else:
            continue
        bounds = [f"at least {least}"] if least is not None else []
        bounds += [f"at most {most}"] if most is not None else []
        if bounds or (extra and kind != "list"):
            yield f"`{name}`", kind, "; ".join([*bounds, *extra])


def _error_rows() -> Iterable[tuple[str, ...]]:
    for kind in Refusal.__subclasses__():
        yield f"`{kind.code}`", str(kind.status), (kind.__doc__ or "").splitlines()[0]


def _quota_rows() -> Iterable[tuple[str, ...]]:
    for field in fields(Quotas):
        ours, vendor = getattr(defaults.QUOTAS, field.name), getattr(defaults.VENDOR_QUOTAS, field.name)
        yield f"`{field.name}`", _number(ours), _number(vendor), _QUOTA_TEXTS[field.name]


def _number(value: int | None) -> str:
    return "none" if value is None else f"{value:,}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(render())
