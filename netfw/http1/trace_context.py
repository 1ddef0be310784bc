"""W3C Trace Context, as far as an intermediary that only takes note of it needs it: which `traceparent` is one. PURE.

The field goes on as it came, whatever it says; its trace id goes into the record when the value is well-formed
(https://www.w3.org/TR/trace-context/, section 3.2.2). Not here: forwarding, which knows nothing of it.
"""

from __future__ import annotations

import re

_IDS = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
# Versions to come may have more behind a dash; ff is no version.
_TRACEPARENT = re.compile(rb"00" + _IDS + rb"|(?!00|ff)[0-9a-f]{2}" + _IDS + rb"(?:-[!-~]*)?")


def is_traceparent(value: bytes) -> bool:
    """Is this value one that names a trace?"""
    return _TRACEPARENT.fullmatch(value) is not None
