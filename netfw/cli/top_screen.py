"""`netfw top` as a screen: the figures laid out for a terminal of any size. PURE: a renderable of rich's.

What peers chose (names, addresses) is shown printable: a host name must not move the cursor. Not here: the figures
(`top_figures`), keys and time (`top`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from netfw.names.printable import printable

_WIDE = 90
"""Columns from which on the lists stand side by side."""
_NARROW = 78
_SLIM = 56
"""Columns below which titles are short."""
_AROUND = 10
"""Lines that are no rows of a list: head, figures, titles, gaps."""
_HINT = "q quits"


def screen_of(figures: Mapping[str, Any], width: int, height: int, *, hint: str = _HINT) -> RenderableType:
    """The whole screen, no taller than `height` lines where those are enough for anything."""
    busiest = figures["busiest"]
    workers = figures["workers"]
    wide = width >= _WIDE
    room = max(height - _AROUND - (len(workers) + 2 if workers else 0), 4)
    rows = max(room // (2 if wide else 4), 1)
    lists = [
        _list("clients", _counted(busiest.get("clients", ()), "client"), rows),
        _list("destinations", _counted(busiest.get("destinations", ()), "destination"), rows),
        _list("denied by", _counted(busiest.get("rules", ()), "rule"), rows),
    ]
    errors = _errors(figures["errors"], rows)
    parts: list[RenderableType] = [_head(figures, hint), _figures(figures, width), Text()]
    if wide:
        beside = Table.grid(padding=(0, 2), expand=True)
        for _ in lists:
            beside.add_column(ratio=1)
        beside.add_row(*lists)
        parts.append(beside)
    else:
        parts += lists
    parts.append(_note(busiest))
    parts.append(errors)
    if workers:
        parts.append(_workers(workers, slim=width < _SLIM))
    return Group(*parts)


def _head(figures: Mapping[str, Any], hint: str) -> Text:
    state = str(figures["state"])
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(f"netfw {printable(str(figures['version']))} ", "bold")
    head.append(f"{printable(str(figures['name']))}  ")
    head.append(printable(state), "bold green" if state == "ready" else "bold red")
    head.append(f"  {hint}  " if hint else "  ", "dim")
    head.append(f"up {duration(figures['uptime_seconds'])}  policy generation {figures['generation']}")
    for row in figures["failed_checks"]:
        head.append(f"  {printable(str(row['check']))}: {printable(str(row['says']))}", "bold red")
    return head


def _figures(figures: Mapping[str, Any], width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    moved = figures["bytes_per_second"]
    slim = width < _SLIM
    denials = figures["denials_per_second"]
    cells = [
        ("req/s" if slim else "requests/s", figures["requests_per_second"], ""),
        ("deny/s" if slim else "denials/s", denials, "red" if denials else ""),
        ("conns" if slim else "connections", figures["connections"], ""),
        ("tunnels", figures["tunnels"], ""),
        ("in", _bytes(moved["in"]), ""),
        ("out", _bytes(moved["out"]), ""),
        ("lost" if slim else "dropped", figures["records_dropped"], "red" if figures["records_dropped"] else ""),
    ]
    if width < _NARROW:
        cells = [cell for cell in cells if cell[0] not in ("in", "out")]
    for _ in cells:
        table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(name, "dim") for name, _, _ in cells))
    table.add_row(*(Text(str(value), f"bold {style}".strip()) for _, value, style in cells))
    return table


def _counted(rows: Iterable[Mapping[str, Any]], name: str) -> list[tuple[str, str]]:
    return [(str(row["exchanges"]), printable(str(row[name]))) for row in rows]


def _list(title: str, rows: Sequence[tuple[str, str]], most: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True)
    table.add_column("", justify="right", no_wrap=True, style="bold")
    table.add_column(title, no_wrap=True, overflow="ellipsis", ratio=1, header_style="bold underline")
    for count, name in rows[:most]:
        table.add_row(Text(count), Text(name, no_wrap=True, overflow="ellipsis"))
    if not rows:
        table.add_row("", Text("none", "dim"))
    return table


def _note(busiest: Mapping[str, Any]) -> Text:
    said = busiest.get("why") or f"of the latest {busiest.get('records', 0)} records"
    return Text(printable(said), "dim", no_wrap=True, overflow="ellipsis")


def _errors(rows: Sequence[Mapping[str, Any]], most: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title, justify in (("/s", "right"), ("total", "right"), ("errors", "left"), ("", "left")):
        table.add_column(title, justify=justify, no_wrap=True, header_style="bold underline")  # type: ignore[arg-type]
    for row in rows[:most]:
        table.add_row(
            *(str(row[name]) for name in ("per_second", "total")),
            *(Text(printable(str(row[name]))) for name in ("what", "why")),
        )
    if not rows:
        table.add_row("", "", Text("none", "dim"), "")
    return table


def _workers(rows: Sequence[Mapping[str, Any]], *, slim: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    names = ["worker", "pid", "state", "connections", "tunnels", "restarts"]
    if slim:
        names = ["worker", "state", "connections"]
    for name in (*names, "up"):
        table.add_column(
            "conns" if slim and name == "connections" else name,
            justify="right", no_wrap=True, header_style="bold underline",
        )  # fmt: skip
    for row in rows:
        table.add_row(*(str(row.get(name)) for name in names), duration(row.get("uptime_seconds")))
    return table


def duration(seconds: object) -> str:
    """Whole seconds in the two largest units: `3d 4h`, `2m 5s`."""
    if not isinstance(seconds, (int, float)):
        return "-"
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number or parts or unit == "s":
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2])


def _bytes(number: float) -> str:
    for unit in ("B/s", "kB/s", "MB/s"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB/s"
