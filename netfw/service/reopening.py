"""Files that are written beside the records, opened again when records are: after a rotation.

A service among the proxy's that has such a file has a method `reopen`. Not here: the records (`data_path`).
"""

from __future__ import annotations

from twisted.application.service import MultiService


def reopen_files(parent: MultiService) -> None:
    """Let every service below this one open its file again."""
    for service in parent:
        if isinstance(service, MultiService):
            reopen_files(service)
        reopen = getattr(service, "reopen", None)
        if reopen is not None:
            reopen()
