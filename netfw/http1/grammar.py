r"""The grammar of HTTP/1.1 as compiled patterns over bytes, each with the section that rules it.

In this room: patterns, nothing else. A head is judged whole by ONE pattern and cut by one `findall`; only when that
pattern says no does `diagnosis` look for the reason. Repetitions of one octet are possessive (`*+`): the matcher goes
back over whole lines at most, and time is linear in the input. Repetitions of groups are not possessive: before Python
3.11.5 a possessive group that goes back within itself matches wrongly (gh-106052), and Debian 12 has 3.11.2.

Deliberate choices, stricter or laxer than the RFC's letter:

* A line ends in CRLF. A bare CR or LF is refused everywhere (RFC 9112, section 2.2, lets a recipient do so).
* obs-fold is refused (RFC 9112, section 5.2); no white space before the colon (section 5.1).
* A field value holds HTAB, SP, visible ASCII and obs-text; every control octet and DEL is refused (RFC 9110, 5.5).
* A request target holds 0x21-0x7E without `#`. That is more than RFC 3986 allows (``| { } [ ] ^ ` " < >`` as browsers
  and libraries send them), and exactly what llhttp takes in strict mode. `netfw.http1.target` is stricter again.
* The reason phrase may be missing with its space: `HTTP/1.1 200`. Many servers do, and nobody frames by it.
* No white space in a chunk line, extensions by the grammar of RFC 9112, section 7.1.1, without BWS.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_FIELD_LINES = rb"((?:" + _TOKEN + rb":[\t -~\x80-\xff]*+\r\n)*)"
_PLAIN_FIELD_LINES = rb"((?:" + _TOKEN + rb":[\t -~\x80-\xff]*+(?<![ \t])\r\n)*)"

TOKEN = re.compile(_TOKEN)
"""RFC 9110, section 5.6.2."""

_REQUEST_LINE = rb"(" + _TOKEN + rb") ([!\"$-~]++) HTTP/1\.([01])\r\n"
_STATUS_LINE = rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t -~\x80-\xff]*+))?\r\n"

REQUEST_HEAD = re.compile(_REQUEST_LINE + _FIELD_LINES + rb"\r\n")
"""RFC 9112, sections 3 and 5: method, target, minor version, field lines."""

RESPONSE_HEAD = re.compile(_STATUS_LINE + _FIELD_LINES + rb"\r\n")
"""RFC 9112, sections 4 and 5: minor version, status, reason phrase, field lines."""

REQUEST_LINE: Final = re.compile(_REQUEST_LINE)
STATUS_LINE: Final = re.compile(_STATUS_LINE)
PLAIN_FIELDS: Final = re.compile(_PLAIN_FIELD_LINES + rb"\r\n")
"""What follows either line in nearly every head: no value ends in white space, so that `findall` yields finished
values. Tried first; what is not plain may still be a head.
"""

FIELD: Final = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
"""Cuts field lines that one of the patterns above has judged; trailing white space stays with the value."""

TRAILER_SECTION = re.compile(_FIELD_LINES + rb"\r\n")
"""RFC 9112, section 7.1.2."""

NEXT_CHUNK: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,15}+)\r\n")
"""The end of a chunk and the next chunk line, as nearly all are: without an extension."""

_QUOTED_STRING = rb"\"[\t !#-\[\]-~\x80-\xff]*+(?:\\[\t -~\x80-\xff][\t !#-\[\]-~\x80-\xff]*+)*\""
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15}+)((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED_STRING + rb"))?)*)\r\n"
)
"""RFC 9112, section 7.1: chunk size, extensions. Fifteen digits cannot overflow anybody's 64 bits."""

CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
"""RFC 9110, section 8.6. Eighteen digits fit a signed 64-bit integer."""

BROKEN_LINE: Final = re.compile(rb"\r(?!\n|\Z)|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""What makes an unfinished head hopeless: a bare CR, a bare LF, a control octet. A final CR may be half a CRLF."""

TARGET_OCTETS: Final = re.compile(rb"[!\"$-~]*+")
"""What may stand in a target at all: visible ASCII without `#`."""

TARGET_REST: Final = re.compile(rb"[!\"$&-\[\]-~]*+(?:%[0-9A-Fa-f]{2}[!\"$&-\[\]-~]*+)*")
"""The same less the backslash, every percent sign beginning a pair of hexadecimal digits (RFC 3986, section 2.1)."""

TARGET_PARTS: Final = re.compile(
    rb"([A-Za-z][A-Za-z0-9+.-]*+)://([^/?]*+)([!\"$&->@-\[\]-~]*+(?:%[0-9A-Fa-f]{2}[!\"$&->@-\[\]-~]*+)*)(?:\?([!\"$-~]*+))?"
)
"""RFC 3986, section 3: scheme, authority, path and query of an absolute-form target; the query is not judged yet."""

SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*+://")
"""RFC 3986, section 3.1, with what makes a target absolute-form."""

VIA_RECEIVED_BY = re.compile(rb"(?:^|,)[ \t]*+[!#$%&'*+./^_`|~0-9A-Za-z-]++[ \t]++([^ \t,]++)")
"""RFC 9110, section 7.6.3: received-protocol, then received-by."""
