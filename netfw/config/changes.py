"""Two configurations compared: what a running proxy can take over, and what waits for its next start.

In this room: which settings are which, and the configuration that is in force afterwards. Not here: reading the file
(`config.load`), and taking settings over (`service.reconfiguration`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from netfw.config.log_model import OutputSection
from netfw.config.model import Configuration, ListenerSection

# Whole sections, and members of others. What is in neither is read at the start only: sockets, names, keys, processes.
_SECTIONS = frozenset(
    {"policy", "dns", "egress", "guard", "upstream", "limits", "timeouts", "deny", "sources", "consistency", "tunnels"}
)
_MEMBERS = frozenset(
    [
        "tls_intercept.bypass",
        "tls_intercept.only",
        "listeners.clients",
        "listeners.proxy_protocol_from",
        "listeners.certificate",
        "listeners.private_key",
        "listeners.client_ca",
        "listeners.client_crl_files",
        "listeners.client_required",
        "listeners.users",
        "listeners.realm",
        "log.mask",
        "log.hash_key",
    ]
)
_NOT_TAKEN = frozenset({"limits.leaf_cache"})


@dataclass(frozen=True, slots=True)
class Changes:
    """`taken` and `waiting` name the settings that differ; `in_force` is what holds once the first are taken over."""

    taken: tuple[str, ...]
    waiting: tuple[str, ...]
    in_force: Configuration


class _Comparison:
    """One walk over both."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.waiting: list[str] = []

    def choose(self, kind: str, shown: str, old: Any, new: Any) -> Any:
        """The value that holds for one setting; `kind` is its name without which of several it is."""
        if old == new:
            return old
        is_taken = (kind.split(".")[0] in _SECTIONS or kind in _MEMBERS) and kind not in _NOT_TAKEN
        (self.taken if is_taken else self.waiting).append(shown)
        return new if is_taken else old

    def merge(self, kind: str, shown: str, old: Any, new: Any) -> Any:
        """The same for each member of a section."""
        members = {
            field.name: self.choose(
                f"{kind}.{field.name}", f"{shown}.{field.name}", getattr(old, field.name), getattr(new, field.name)
            )
            for field in fields(old)
        }
        return replace(old, **members)

    def outputs(
        self, old: tuple[OutputSection, ...], new: tuple[OutputSection, ...], known: frozenset[str] | None
    ) -> tuple[OutputSection, ...]:
        """Servers that records go to come and go. Files and standard output stay, for others read them; and so does
        whoever needs environment variables that are not `known` to running workers (None: all are).
        """
        former = {one.name: one for one in old}
        found, taken, waiting = [], [], []
        for one in new:
            before = former.pop(one.name, None)
            if before is not None and replace(one, place=before.place) == before:
                found.append(before)
            elif _can_change(one, known) and (before is None or before.is_server):
                taken.append(one.name)
                found.append(one)
            else:
                waiting.append(one.name)
                found += [] if before is None else [before]
        for name, one in former.items():
            (taken if one.is_server else waiting).append(name)
            found += [] if one.is_server else [one]
        if not found:
            # What replaces them waits: until then records must go somewhere.
            self.waiting.append("log.outputs")
            return old
        self.taken += [f"log.outputs[{name}]" for name in taken]
        self.waiting += [f"log.outputs[{name}]" for name in waiting]
        return tuple(found)

    def log(self, old: Configuration, new: Configuration) -> Any:
        """The members of `log`."""
        known = frozenset(old.log.variables) if old.workers else None
        outputs = self.outputs(old.log.outputs, new.log.outputs, known)
        merged = self.merge("log", "log", old.log, replace(new.log, outputs=old.log.outputs))
        return replace(merged, outputs=outputs)

    def listeners(
        self, old: tuple[ListenerSection, ...], new: tuple[ListenerSection, ...]
    ) -> tuple[ListenerSection, ...]:
        """Sockets stay: only where the same listeners are named is anything of them taken."""
        if [listener.name for listener in old] != [listener.name for listener in new]:
            self.waiting.append("listeners")
            return old
        return tuple(
            self.merge("listeners", f"listeners[{one.name}]", one, other) for one, other in zip(old, new, strict=True)
        )


def compare(old: Configuration, new: Configuration) -> Changes:
    """What is different in `new`."""
    comparison = _Comparison()
    members: dict[str, Any] = {}
    for field in fields(old):
        name = field.name
        one, other = getattr(old, name), getattr(new, name)
        if name == "listeners":
            members[name] = comparison.listeners(one, other)
        elif name == "log":
            members[name] = comparison.log(old, new)
        elif name == "policy" and (one.store is not None or other.store is not None):
            # Following a store begins with the process.
            members[name] = one
            if one != other:
                comparison.waiting.append(name)
        elif hasattr(one, "__dataclass_fields__"):
            members[name] = comparison.merge(name, name, one, other)
        else:
            members[name] = comparison.choose(name, name, one, other)
    return Changes(tuple(comparison.taken), tuple(comparison.waiting), replace(old, **members))


def _can_change(output: OutputSection, known: frozenset[str] | None) -> bool:
    variables = output.delivery.variables if output.delivery is not None else ()
    return output.is_server and (known is None or known.issuperset(variables))
