"""What a record says in words that a peer chose: decoded, cut, with secrets masked. PURE.

Nothing here escapes: JSON does (`ensure_ascii`), so that no CR, LF, ESC, C1 or bidirectional control reaches a log as
it is. Bytes are read as Latin-1, which cannot fail and loses nothing; whoever wants UTF-8 can turn it back. Every value
is cut to `VALUE_LIMIT` characters, before anything else is done with it.

Masked: userinfo, wherever a URI stands in a path or a query (RFC 3986, 3.2.1), and the value of each parameter whose
name tells a secret. A secret that is a path segment, or the whole query without a name, cannot be told from other text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

VALUE_LIMIT = 2048
LIST_LIMIT = 32
MASK = "***"
_CUT = "\u2026"

_WORDS = frozenset(
    ["assertion", "auth", "authorization", "bearer", "code", "credentials", "hmac", "jwt", "key", "otp", "pass", "pin"]
    + ["pwd", "sas", "session", "sid", "sig", "sign", "ticket"]
)
_PARTS = ("token", "secret", "passw", "signature", "credential", "apikey", "accesskey", "sessionid", "saml")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
# Each run ends at a slash, so that no text is looked at twice.
_USERINFO = re.compile(r"(//|%2[Ff]%2[Ff])(?:[^/?#&%]|%(?!2[Ff]))*(?:@|%40)")
_SEPARATORS = re.compile(r"([&;])")
_MATRIX = re.compile(r";([^=;/]*)=([^;/]*)")
_NAME_KEPT = 64
_NAME_LOOKED_AT = 256
_also_secret: re.Pattern[str] | None = None


def cut(text: str) -> str:
    """At most `VALUE_LIMIT` characters; an ellipsis at the end says that there were more."""
    if len(text) <= VALUE_LIMIT:
        return text
    return text[: VALUE_LIMIT - 1] + _CUT


def peer_text(value: bytes | str) -> str:
    """A value that a peer chose, as text that is safe to hand to JSON."""
    if type(value) is str:
        return cut(value)
    if len(value) <= VALUE_LIMIT:
        return value.decode("latin-1")  # type: ignore[union-attr]  # bytes: str left above
    return value[: VALUE_LIMIT - 1].decode("latin-1") + _CUT  # type: ignore[union-attr]  # the same


def mask_also(patterns: Iterable[str]) -> None:
    """From now on these names of parameters (`*` and `?` as in file names, in any case) tell a secret too; others that
    were said before do no more. One setting of the process, as records are one log of it.
    """
    global _also_secret
    # One `*` for several in a row, and the name cut: no pattern makes a long search.
    words = [re.sub(r"\*+", "*", pattern) for pattern in patterns]
    _also_secret = re.compile("|".join(translate(word) for word in words), re.IGNORECASE) if words else None
    _is_secret_kept.cache_clear()


def _is_secret(name: str) -> bool:
    if "%" in name:
        name = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)
    if _also_secret is not None and _also_secret.match(name[:_NAME_LOOKED_AT]):
        return True
    if not _WORDS.isdisjoint(word.lower() for word in _WORD.findall(name)):
        return True
    lowered = name.lower()
    if lowered in _WORDS:
        return True
    plain = lowered.replace("_", "").replace("-", "")
    return plain.endswith("key") or any(part in plain for part in _PARTS)


_is_secret_kept = lru_cache(maxsize=1024)(_is_secret)


def is_secret_name(name: str) -> bool:
    """Does a parameter of this name (still percent-encoded) carry a secret?

    By words (`X-Amz-Signature`, `authCode`, `api_key`), not by any run of letters: `author` and `keyword` are none. Too
    much rather than too little.
    """
    return _is_secret_kept(name) if len(name) <= _NAME_KEPT else _is_secret(name)


def _mask_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if equals and is_secret_name(name):
        return f"{name}={MASK}"
    return parameter


def _mask_userinfo(text: str) -> str:
    return _USERINFO.sub(lambda match: f"{match[1]}{MASK}@", text)


def trace_ids(traceparent: str) -> tuple[str, str] | None:
    """The ids of the trace and of the client's span in a `traceparent` (W3C Trace Context, section 3.2)."""
    parts = traceparent.split("-", 3)
    return (parts[1], parts[2]) if len(parts) == 4 else None


def query_text(query: bytes) -> str:
    """A query with its secrets masked."""
    text = peer_text(query)
    if ";" in text:
        text = "".join(map(_mask_parameter, _SEPARATORS.split(text)))
    elif "=" in text:
        text = "&".join(map(_mask_parameter, text.split("&")))
    if "@" in text or "%40" in text:
        text = _mask_userinfo(text)
    return text


def path_text(path: bytes) -> str:
    """A path with its secrets masked: matrix parameters (`;jsessionid=`) and the userinfo of a URI within it."""
    text = peer_text(path)
    if ";" in text:
        text = _MATRIX.sub(lambda match: f";{_mask_parameter(f'{match[1]}={match[2]}')}", text)
    if "@" in text or "%40" in text:
        text = _mask_userinfo(text)
    return text
