"""What a record tells only because TLS was opened, and the record without it. PURE.

Of an exchange inside an intercepted connection these are the path and the query of its URL, and what stood in its
fields. Where it went, by which method, what came of it and how much it was stays: that is what operating a proxy takes.
Who may see the rest is decided elsewhere (`control.roles`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netfw.telemetry.record_values import MASK

NOTE = f"what only decryption shows is {MASK}: seeing it takes the right `decrypted` (docs/control-plane.md)"
_VEILED_PATH = f"/{MASK}"
_FIELDS = ("user_agent", "traceparent")
DECRYPTED_FIELDS = ("url.path", "url.query", "url.fragment", *_FIELDS, "error.detail")


def is_decrypted(record: Mapping[str, Any]) -> bool:
    """Whether it tells what was inside an intercepted connection."""
    tls = record.get("tls")
    return "url" in record and isinstance(tls, Mapping) and bool(tls.get("intercepted"))


def veiled(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with `***` for all of that; the argument stays as it is."""
    shown = dict(record)
    if not is_decrypted(record):
        return shown
    url = shown["url"]
    shown["url"] = MASK
    if isinstance(url, Mapping):
        shown["url"] = {
            **url,
            **({"path": _VEILED_PATH} if "path" in url else {}),
            **{name: MASK for name in ("query", "fragment") if url.get(name)},
        }
    for name in _FIELDS:
        if shown.get(name):
            shown[name] = MASK
    error = shown.get("error")
    if isinstance(error, Mapping) and error.get("detail"):
        # It may repeat a line of a head.
        shown["error"] = {**error, "detail": MASK}
    return shown
