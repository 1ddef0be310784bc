"""Who may import whom, read from the syntax trees, so that a checkout without the tools still fails.

The rule and its reasons are in docs/architecture.md; setup.cfg has it a second time for import-linter.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "netfw").rglob("*.py"))

# Level 0 in rooms of their own: values and computation only.
PURE_PACKAGES = ("netfw.names", "netfw.http1", "netfw.policy", "netfw.x509", "netfw.kit")

# Level 0 in mixed rooms.
PURE_MODULES = (
    "netfw.config.delivery_model",
    "netfw.config.log_model",
    "netfw.config.model",
    "netfw.config.policy_lines",
    "netfw.config.units",
    "netfw.config.way_model",
    "netfw.control.access_keys",
    "netfw.control.arns",
    "netfw.control.json_protocol",
    "netfw.control.own_model",
    "netfw.control.pages",
    "netfw.control.positions",
    "netfw.control.quotas",
    "netfw.control.refusals",
    "netfw.control.resource_shapes",
    "netfw.control.roles",
    "netfw.control.service_model",
    "netfw.control.shapes",
    "netfw.control.signature",
    "netfw.control.throttle",
    "netfw.telemetry.record_fields",
    "netfw.telemetry.record_values",
    "netfw.tls.client_hello",
    "netfw.store.resources",
    "netfw.transport.dns_cache",
    "netfw.transport.dns_heard",
    "netfw.transport.proxy_header",
    "netfw.transport.resolution",
    "netfw.workers.back_off",
    "netfw.workers.messages",
    "netfw.workers.plain",
    "netfw.workers.shares",
    "netfw.workers.snapshot",
)

# What each room may import besides itself and level 0. Level 0 has its own entries, lowest first.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "netfw.names": (),
    "netfw.http1": ("netfw.names",),
    "netfw.x509": ("netfw.names",),
    "netfw.policy": ("netfw.names", "netfw.http1"),
    "netfw.kit": ("netfw.names", "netfw.x509"),
    "netfw.errors": (),
    "netfw.interfaces": (),
    "netfw.transport": ("netfw.errors", "netfw.interfaces"),
    "netfw.tls": ("netfw.errors", "netfw.interfaces", "netfw.transport"),
    "netfw.telemetry": ("netfw.errors", "netfw.interfaces"),
    "netfw.config": ("netfw.errors", "netfw.interfaces"),
    "netfw.store": ("netfw.errors", "netfw.interfaces", "netfw.config"),
    "netfw.proxy": (
        "netfw.errors",
        "netfw.interfaces",
        "netfw.transport",
        "netfw.tls",
        "netfw.telemetry",
        "netfw.config",
    ),
    "netfw.workers": (
        "netfw.errors",
        "netfw.interfaces",
        "netfw.transport",
        "netfw.telemetry",
        "netfw.config",
    ),
    "netfw.control": (
        "netfw.errors",
        "netfw.interfaces",
        "netfw.store",
        "netfw.telemetry",
        "netfw.config",
    ),
    "netfw.admin": (
        "netfw.errors",
        "netfw.interfaces",
        "netfw.transport",
        "netfw.tls",
        "netfw.telemetry",
        "netfw.config",
    ),
}

# Nothing imports these; `testing` starts the whole, the others are the whole.
TOP = ("netfw.service", "netfw.cli", "netfw.testing")

# What level 0 may import from outside the standard library.
PURE_LIBRARIES = {
    "netfw.names": {"idna"},
    "netfw.x509": {"cryptography"},
    "netfw.policy": {"ahocorasick"},
}

# What level 0 may not import from the standard library: it does no I/O, keeps no time and writes no log.
IMPURE = {
    "asyncio",
    "http",
    "logging",
    "multiprocessing",
    "os",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib",
}


@dataclass(frozen=True)
class Import:
    """One import: who, what, and whether only for annotations."""

    module: str
    name: str
    line: int

    def __str__(self) -> str:
        return f"{self.module} line {self.line} imports {self.name}"


def module_name(path: Path) -> str:
    """As Python calls it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


@cache
def tree_of(module: str) -> ast.Module:
    """Its syntax tree; made in tests alone, for collecting them happens in every process that runs some."""
    return ast.parse(MODULES[module].read_text(), str(MODULES[module]))


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Each module with its tree."""
    return ((module, tree_of(module)) for module in MODULES)


def imports_of(module: str) -> Iterator[Import]:
    """Every import wherever it stands, those for annotations only as well: they bind rooms together too."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} line {node.lineno}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                # `from package import module` and `from module import name` look alike.
                yield Import(
                    module,
                    name if name in MODULES or node.module in ("twisted.internet", "OpenSSL") else str(node.module),
                    node.lineno,
                )


@cache
def all_imports() -> tuple[Import, ...]:
    """Those of every module."""
    return tuple(found for module in MODULES for found in imports_of(module))


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a name is one of these or inside one of them."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def room_of(module: str) -> str:
    """`netfw.proxy` for `netfw.proxy.phases`."""
    return ".".join(module.split(".")[:2])


def is_pure(module: str) -> bool:
    """Whether level 0's rule holds for it."""
    return within(module, PURE_PACKAGES) or module in PURE_MODULES


def is_allowed(found: Import) -> bool:
    """Whether a room may import this part of netfw."""
    module, name = found.module, found.name
    if name == "netfw" or within(module, TOP) and not within(name, TOP):
        return True
    if is_pure(module) and not is_pure(name):
        return False
    room = room_of(module)
    if room_of(name) == room:
        return True
    if room in PURE_PACKAGES:
        return within(name, MAY_IMPORT[room])
    if within(module, ("netfw.testing",)):
        return True
    return is_pure(name) or within(name, MAY_IMPORT.get(room, ()))


def test_every_room_has_its_place() -> None:
    """A new package is put into this file's tables before it is used."""
    rooms = {room_of(module) for module in MODULES if module != "netfw"}
    assert rooms <= set(MAY_IMPORT) | set(TOP)


def test_rooms_import_only_what_is_below_them() -> None:
    """Level by level; rooms of one level know nothing of one another."""
    wrong = [str(found) for found in all_imports() if found.name.startswith("netfw") and not is_allowed(found)]
    assert wrong == []


def test_level_0_is_pure() -> None:
    """No Twisted, no OpenSSL, no I/O, no clock, no log: those are arguments, or somebody else's."""
    wrong = []
    for found in all_imports():
        if not is_pure(found.module) or found.name.startswith("netfw"):
            continue
        root = found.name.split(".")[0]
        if root in IMPURE or (not is_standard(root) and root not in PURE_LIBRARIES.get(room_of(found.module), set())):
            wrong.append(str(found))
    assert wrong == []


def is_standard(root: str) -> bool:
    """Whether a module is the standard library's."""
    return root in sys.stdlib_module_names


@pytest.mark.parametrize("module", [module for module in MODULES if is_pure(module)])
def test_level_0_opens_no_file_and_reads_no_clock(module: str) -> None:
    """Nor does it print, or ask."""
    wrong = []
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("open", "print", "input") or called.endswith(
                (".now", ".utcnow", ".today", ".read_bytes", ".read_text")
            ):
                wrong.append(f"{module} line {node.lineno} calls {called}")
    assert wrong == []


def test_the_reactor_is_imported_in_one_place() -> None:
    """Everything else gets it as an argument."""
    importers = {found.module for found in all_imports() if found.name == "twisted.internet.reactor"}
    assert {module for module in importers if not within(module, ("netfw.testing",))} == {"netfw.service.maker"}


def test_no_private_part_of_twisted_or_pyopenssl_is_used() -> None:
    """They change without notice, and four years of releases are supported."""
    wrong = [
        str(found)
        for found in all_imports()
        if found.name.split(".")[0] in ("twisted", "OpenSSL", "cryptography")
        and any(part.startswith("_") for part in found.name.split("."))
    ]
    for module, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in ("_lib", "_ffi"):
                wrong.append(f"{module} line {node.lineno} uses {node.attr}")
    assert wrong == []


def test_contexts_are_built_in_one_place() -> None:
    """One place decides about protocol versions, ciphers and trust."""
    builders = {
        module
        for module, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("SSL.Context", "Context")
    }
    assert {module for module in builders if not within(module, ("netfw.testing",))} <= {"netfw.tls.contexts"}


def test_the_command_stays_off_twisted() -> None:
    """`netfw check` starts in a blink."""
    wrong = [
        str(found)
        for found in all_imports()
        if within(found.module, ("netfw.cli", "netfw.config")) and found.name.startswith("twisted")
    ]
    assert wrong == []


def test_mixed_packages_have_empty_init_modules() -> None:
    """A re-export there would load the reactor for whoever wants a pure module."""
    mixed = {module.rsplit(".", 1)[0] for module in PURE_MODULES}
    assert [package for package in sorted(mixed) if list(imports_of(package))] == []


def test_only_the_deadlines_call_the_reactors_clock() -> None:
    """One sweep for all: a delayed call an exchange costs more than its parsing."""
    callers = {
        module
        for module, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "callLater"
    }
    exempt = ("netfw.transport.deadlines", "netfw.testing", "netfw.service", "netfw.telemetry", "netfw.admin")
    assert {module for module in callers if not within(module, exempt)} == set()
