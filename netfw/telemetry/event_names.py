"""The names of what the program's own log tells: constants, for a search to find who says it and a filter to rely on.

Records of exchanges are not in that log: see `exchange_record`.
"""

from __future__ import annotations

RECORD_LOG_FAILED = "record_log.failed"
RECORD_LOG_RECOVERED = "record_log.recovered"
RECORD_LOG_REOPENED = "record_log.reopened"
RECORDS_DROPPED = "record_log.dropped"
RECORDS_FOUND = "record_log.found"

ADMIN_LISTENING = "admin.listening"
ADMIN_RELOAD = "admin.reload"
ADMIN_REFUSED = "admin.refused"
ADMIN_FAILED = "admin.failed"

INTERCEPTION_SWITCHED = "interception.switched"

CONTROL_DONE = "control.done"
CONTROL_REFUSED = "control.refused"
CONTROL_FAILED = "control.failed"
