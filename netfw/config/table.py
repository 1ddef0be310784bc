"""Taking a mapping apart: one key after the other, remembering what is wrong instead of stopping at it.

Not here: what the values mean (`config.values`) and which keys there are (`config.sections`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netfw.config.errors import Problem
from netfw.config.nearest import nearest

REQUIRED: Any = object()


class Table:
    """A mapping of the file. `take` each key, then `close`: what nobody took is reported as unknown.

    After a problem the default stands in (None for a required key), so that the walk goes on and finds the rest; the
    caller must not use the result when `problems` is not empty.
    """

    def __init__(self, value: object, path: str, problems: list[Problem], *, wanted: str = "settings") -> None:
        self.path = path
        self._problems = problems
        self._taken: list[str] = []
        self._values: dict[str, Any] = {}
        if isinstance(value, dict):
            self._values = value
        elif value is not None:
            self.complain("", f"{_shown(value)} is not a mapping; write {wanted} under it, one `key: value` a line")

    @property
    def is_empty(self) -> bool:
        """Whether the file says nothing here."""
        return not self._values

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def complain(self, key: str, message: str) -> None:
        """Remember a problem of this key; of the mapping itself when the key is empty."""
        self._problems.append(Problem(self.path_of(key), message))

    def has_problem(self, key: str) -> bool:
        """Whether something is wrong with this key itself."""
        return any(problem.path == self.path_of(key) for problem in self._problems)

    @property
    def names(self) -> list[str]:
        """The keys there are."""
        return list(self._values)

    def peek(self, key: str) -> Any:
        """What the file says under this key, unread."""
        return self._values.get(key)

    def is_boolean(self, key: str) -> bool:
        """Whether the file says true or false, where it might say more."""
        return isinstance(self._values.get(key), bool)

    def is_mapping(self, key: str) -> bool:
        """Whether the file has settings under this key, where it might have one value."""
        return isinstance(self._values.get(key), dict)

    def is_empty_list(self, key: str) -> bool:
        """Whether the file says `[]`, which is something else than saying nothing."""
        return self._values.get(key) == []

    def path_of(self, key: str) -> str:
        """The path of a key as problems show it."""
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def may_have(self, *keys: str) -> None:
        """These are settings, whether or not somebody takes them."""
        self._taken += keys

    def take(self, key: str, parse: Callable[[Any], Any], default: Any = REQUIRED) -> Any:
        """Return the parsed value. A key that is absent or null gives the default."""
        self._taken.append(key)
        value = self._values.get(key)
        if value is None:
            if default is REQUIRED:
                self.complain(key, "is missing")
                return None
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.complain(key, str(error))
            return None if default is REQUIRED else default

    def take_list(
        self, key: str, parse: Callable[[Any], Any], default: tuple[Any, ...] = (), *, single: bool = False
    ) -> tuple[Any, ...]:
        """Return the parsed elements of a list; `single` accepts one element written without a list."""
        self._taken.append(key)
        value = self._values.get(key)
        if value is None:
            return default
        if single and not isinstance(value, (list, dict)):
            value = [value]
        if not isinstance(value, list):
            self.complain(key, f"{_shown(value)} is not a list; write one `- element` a line, or [a, b]")
            return default
        elements = []
        for position, element in enumerate(value):
            try:
                elements.append(parse(element))
            except ValueError as error:
                self.complain(f"{key}[{position}]", str(error))
        return tuple(elements)

    def table(self, key: str, *, wanted: str = "settings") -> Table:
        """Return the mapping under a key; an empty one when it is absent."""
        self._taken.append(key)
        return Table(self._values.get(key), self.path_of(key), self._problems, wanted=wanted)

    def tables(self, key: str) -> list[Table]:
        """Return the mappings of the list under a key."""
        self._taken.append(key)
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.complain(key, f"{_shown(value)} is not a list; begin each entry with `- `")
            return []
        return [
            Table({} if entry is None else entry, self.path_of(f"{key}[{position}]"), self._problems)
            for position, entry in enumerate(value)
        ]

    def close(self) -> None:
        """Report every key that nobody took."""
        for key in self._values:
            if key not in self._taken:
                guess = nearest(key, self._taken)
                known = ", ".join(sorted(set(self._taken)))
                hint = f"did you mean {guess}?" if guess else f"known here: {known}"
                self.complain(key, f"unknown setting; {hint}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
