"""A table of hostile and borderline messages, each with what must come of it.

A request goes through the reader and, as in the proxy, through `parse_target`. What is refused is refused with a
status; what is accepted gives one message with the content in the table. Each row runs three times: fed whole, octet
by octet, and whole with more bytes behind it.
"""

import pytest

from netfw.http1.errors import FramingError
from netfw.http1.events import BodyReceived, MessageComplete, RequestHeadReceived, ResponseHeadReceived
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import RequestReader, ResponseReader
from netfw.http1.target import parse_target

H = b"Host: a.example\r\n"
LIMITS = HeadLimits(head_size=4096, head_fields=20, chunk_line=64, trailer_size=256)


def get(*fields, target=b"/", version=b"HTTP/1.1", method=b"GET", body=b"", host=H):
    """A request made of raw parts."""
    return method + b" " + target + b" " + version + b"\r\n" + host + b"".join(fields) + b"\r\n" + body


def post(*fields, body=b""):
    """A POST made of raw parts."""
    return get(*fields, method=b"POST", body=body)


def chunked(body, *fields):
    """A chunked POST with this body as it stands."""
    return post(b"Transfer-Encoding: chunked\r\n", *fields, body=body)


REFUSED_REQUESTS = {
    # Start line.
    "two spaces after the method": (b"GET  / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "two spaces before the version": (b"GET /  HTTP/1.1\r\n" + H + b"\r\n", 400),
    "space after the version": (b"GET / HTTP/1.1 \r\n" + H + b"\r\n", 400),
    "space before the method": (b" GET / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "tab for a space": (b"GET\t/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    "vertical tab for a space": (b"GET\x0b/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    "no-break space for a space": (b"GET\xa0/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    "three empty lines first": (b"\r\n\r\n\r\n" + get(), 400),
    "bare LF first": (b"\n" + get(), 400),
    "no target": (b"GET HTTP/1.1\r\n" + H + b"\r\n", 400),
    "no method": (b"/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/2.0": (get(version=b"HTTP/2.0"), 505),
    "HTTP/3.0": (get(version=b"HTTP/3.0"), 505),
    "HTTP/1.2": (get(version=b"HTTP/1.2"), 505),
    "HTTP/0.9 as a version": (get(version=b"HTTP/0.9"), 505),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.10": (get(version=b"HTTP/1.10"), 400),
    "HTTP/01.1": (get(version=b"HTTP/01.1"), 400),
    "HTTP/1": (get(version=b"HTTP/1"), 400),
    "http/1.1": (get(version=b"http/1.1"), 400),
    "HTTP/1,1": (get(version=b"HTTP/1,1"), 400),
    "HTTP/+1.1": (get(version=b"HTTP/+1.1"), 400),
    "ICY": (get(version=b"ICY/1.1"), 400),
    "method with a colon": (get(method=b"GE:T"), 400),
    "method with a quote": (get(method=b'G"ET'), 400),
    "method beyond ASCII": (get(method=b"G\xc9T"), 400),
    "NUL in the method": (get(method=b"G\x00T"), 400),
    "TLS to the plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "SSH to the plain port": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
    # Target.
    "fragment in origin-form": (get(target=b"/a#b"), 400),
    "fragment in absolute-form": (get(target=b"http://a.example/#b"), 400),
    "fragment behind the authority": (get(target=b"http://a.example#@evil.example/"), 400),
    "backslash in the path": (get(target=b"/a\\..\\b"), 400),
    "backslash in the authority": (get(target=b"http://a.example\\@evil.example/"), 400),
    "percent sign alone": (get(target=b"/100%"), 400),
    "percent sign and one digit": (get(target=b"/%4"), 400),
    "percent sign and no digits": (get(target=b"/%zz"), 400),
    "percent-encoded host": (get(target=b"http://a%2eexample/"), 400),
    "raw UTF-8 in the path": (get(target=b"/caf\xc3\xa9"), 400),
    "raw UTF-8 in the host": (get(target=b"http://caf\xc3\xa9.example/"), 400),
    "DEL in the path": (get(target=b"/a\x7f"), 400),
    "NUL in the path": (get(target=b"/a\x00b"), 400),
    "tab in the path": (get(target=b"/a\tb"), 400),
    "space in the path": (get(target=b"/a b"), 400),
    "userinfo": (get(target=b"http://user:pass@a.example/"), 400),
    "empty userinfo": (get(target=b"http://@a.example/"), 400),
    "no authority": (get(target=b"http:///path"), 400),
    "one slash": (get(target=b"http:/a.example/"), 400),
    "no slashes": (get(target=b"http:a.example"), 400),
    "no scheme": (get(target=b"a.example/path"), 400),
    "scheme-relative is a path, with a bad percent sign": (get(target=b"//a.example/%"), 400),
    "authority-form for GET": (get(target=b"a.example:80"), 400),
    "asterisk-form for GET": (get(target=b"*"), 400),
    "double asterisk": (get(target=b"**", method=b"OPTIONS"), 400),
    "ftp": (get(target=b"ftp://a.example/"), 501),
    "file": (get(target=b"file:///etc/passwd"), 501),
    "gopher": (get(target=b"gopher://a.example:70/_x"), 501),
    "javascript": (get(target=b"javascript:alert(1)"), 400),
    "port 0": (get(target=b"http://a.example:0/"), 400),
    "port 65536": (get(target=b"http://a.example:65536/"), 400),
    "port +80": (get(target=b"http://a.example:+80/"), 400),
    "empty port": (get(target=b"http://a.example:/"), 400),
    "two ports": (get(target=b"http://a.example:80:80/"), 400),
    "brackets round a name": (get(target=b"http://[a.example]/"), 400),
    "IPv6 without brackets": (get(target=b"http://::1/"), 400),
    "IPv6 with a zone": (get(target=b"http://[fe80::1%25lo]/"), 400),
    "legacy IPv4": (get(target=b"http://127.1/"), 400),
    "hexadecimal IPv4": (get(target=b"http://0x7f000001/"), 400),
    "octal IPv4": (get(target=b"http://0177.0.0.1/"), 400),
    "one number": (get(target=b"http://2130706433/"), 400),
    "CONNECT with a path": (get(target=b"a.example:443/", method=b"CONNECT"), 400),
    "CONNECT without a port": (get(target=b"a.example", method=b"CONNECT"), 400),
    "CONNECT in absolute-form": (get(target=b"https://a.example:443", method=b"CONNECT"), 400),
    "CONNECT in origin-form": (get(target=b"/", method=b"CONNECT"), 400),
    "CONNECT with userinfo": (get(target=b"u@a.example:443", method=b"CONNECT"), 400),
    "CONNECT to port 0": (get(target=b"a.example:0", method=b"CONNECT"), 400),
    "CONNECT with content": (get(b"Content-Length: 5\r\n", target=b"a.example:443", method=b"CONNECT"), 400),
    "CONNECT with chunks": (get(b"Transfer-Encoding: chunked\r\n", target=b"a.example:443", method=b"CONNECT"), 400),
    # Field lines.
    "bare LF ends the request line": (b"GET / HTTP/1.1\n" + H + b"\r\n", 400),
    "bare LF ends a field": (get(b"A: b\n"), 400),
    "bare LF ends the head": (b"GET / HTTP/1.1\r\n" + H + b"\n", 400),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare CR in a value": (get(b"A: b\rc\r\n"), 400),
    "bare CR ends a field": (get(b"A: b\rContent-Length: 3\r\n"), 400),
    "CR CR LF": (get(b"A: b\r\r\n"), 400),
    "obs-fold": (get(b"A: b\r\n c\r\n"), 400),
    "obs-fold with a tab": (get(b"A: b\r\n\tc\r\n"), 400),
    "white space before the first field": (b"GET / HTTP/1.1\r\n " + H + b"\r\n", 400),
    "a line of one space": (get(b" \r\n"), 400),
    "space before the colon": (get(b"A : b\r\n"), 400),
    "tab before the colon": (get(b"Content-Length\t: 3\r\n"), 400),
    "space in a name": (get(b"A B: c\r\n"), 400),
    "no colon": (get(b"nonsense\r\n"), 400),
    "empty name": (get(b": value\r\n"), 400),
    "name beyond ASCII": (get(b"\xc3\xa4: b\r\n"), 400),
    "name with a bracket": (get(b"A[]: b\r\n"), 400),
    "name with a slash": (get(b"A/B: c\r\n"), 400),
    "NUL in a name": (get(b"A\x00: b\r\n"), 400),
    "NUL in a value": (get(b"A: b\x00c\r\n"), 400),
    "ESC in a value": (get(b"A: \x1b[31m\r\n"), 400),
    "vertical tab in a value": (get(b"A: b\x0bc\r\n"), 400),
    "form feed in a value": (get(b"A: \x0cb\r\n"), 400),
    "DEL in a value": (get(b"A: \x7f\r\n"), 400),
    "backspace in a value": (get(b"A: b\x08\r\n"), 400),
    # Host.
    "no Host": (get(host=b""), 400),
    "no Host in absolute-form": (get(host=b"", target=b"http://a.example/"), 400),
    "two Hosts": (get(b"Host: b.example\r\n"), 400),
    "two equal Hosts": (get(H), 400),
    "two Hosts in 1.0": (get(H, version=b"HTTP/1.0"), 400),
    "empty Host": (get(host=b"Host:\r\n"), 400),
    "two names in Host": (get(host=b"Host: a.example, b.example\r\n"), 400),
    "userinfo in Host": (get(host=b"Host: u@a.example\r\n"), 400),
    "path in Host": (get(host=b"Host: a.example/x\r\n"), 400),
    "scheme in Host": (get(host=b"Host: http://a.example\r\n"), 400),
    "bad port in Host": (get(host=b"Host: a.example:99999\r\n"), 400),
    "space in Host": (get(host=b"Host: a b\r\n"), 400),
    "legacy IPv4 in Host": (get(host=b"Host: 127.1\r\n"), 400),
    "bad Host with CONNECT": (get(host=b"Host: a b\r\n", target=b"a.example:443", method=b"CONNECT"), 400),
    # Content-Length and Transfer-Encoding.
    "two Content-Lengths": (post(b"Content-Length: 3\r\nContent-Length: 4\r\n", body=b"abc"), 400),
    "two equal Content-Lengths": (post(b"Content-Length: 3\r\nContent-Length: 3\r\n", body=b"abc"), 400),
    "a list of equal lengths": (post(b"Content-Length: 3, 3\r\n", body=b"abc"), 400),
    "length +3": (post(b"Content-Length: +3\r\n", body=b"abc"), 400),
    "length -3": (post(b"Content-Length: -3\r\n", body=b"abc"), 400),
    "length 0x3": (post(b"Content-Length: 0x3\r\n", body=b"abc"), 400),
    "length 1_0": (post(b"Content-Length: 1_0\r\n", body=b"abc"), 400),
    "length 3.0": (post(b"Content-Length: 3.0\r\n", body=b"abc"), 400),
    "length of two words": (post(b"Content-Length: 3 3\r\n", body=b"abc"), 400),
    "empty length": (post(b"Content-Length:\r\n"), 400),
    "length of 19 digits": (post(b"Content-Length: 1000000000000000000\r\n"), 400),
    "length of 2 to the 64": (post(b"Content-Length: 18446744073709551616\r\n"), 400),
    "Arabic digits": (post("Content-Length: ٣\r\n".encode(), body=b"abc"), 400),
    "Latin-1 superscript": (post(b"Content-Length: \xb3\r\n", body=b"abc"), 400),
    "length and chunked": (chunked(b"0\r\n\r\n", b"Content-Length: 3\r\n"), 400),
    "chunked and length": (post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", body=b"0\r\n\r\n"), 400),
    "length and an unknown coding": (post(b"Content-Length: 3\r\nTransfer-Encoding: gzip\r\n", body=b"abc"), 400),
    "chunked in 1.0": (
        get(b"Transfer-Encoding: chunked\r\n", version=b"HTTP/1.0", method=b"POST", body=b"0\r\n\r\n"),
        400,
    ),
    "chunked twice": (post(b"Transfer-Encoding: chunked, chunked\r\n", body=b"0\r\n\r\n"), 400),
    "chunked in two lines": (post(b"Transfer-Encoding: chunked\r\n" * 2, body=b"0\r\n\r\n"), 400),
    "chunked then gzip": (post(b"Transfer-Encoding: chunked, gzip\r\n", body=b"0\r\n\r\n"), 400),
    "gzip then chunked": (post(b"Transfer-Encoding: gzip, chunked\r\n", body=b"0\r\n\r\n"), 501),
    "gzip": (post(b"Transfer-Encoding: gzip\r\n"), 501),
    "identity": (post(b"Transfer-Encoding: identity\r\n"), 501),
    "identity then chunked, two lines": (post(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), 501),
    "xchunked": (post(b"Transfer-Encoding: xchunked\r\n"), 501),
    "chunked with a vertical tab": (post(b"Transfer-Encoding: \x0bchunked\r\n", body=b"0\r\n\r\n"), 400),
    "chunked with a parameter": (post(b"Transfer-Encoding: chunked;q=1\r\n", body=b"0\r\n\r\n"), 400),
    "chunked in quotes": (post(b'Transfer-Encoding: "chunked"\r\n', body=b"0\r\n\r\n"), 400),
    "chunked with a comma": (post(b"Transfer-Encoding: chunked,\r\n", body=b"0\r\n\r\n"), 400),
    "a comma and chunked": (post(b"Transfer-Encoding: , chunked\r\n", body=b"0\r\n\r\n"), 400),
    "empty coding": (post(b"Transfer-Encoding:\r\n"), 400),
    "chunked beyond ASCII": (post(b"Transfer-Encoding: chun\xc3\xa7ed\r\n"), 400),
    "chun ked": (post(b"Transfer-Encoding: chun ked\r\n"), 400),
    # Chunks.
    "chunk size +5": (chunked(b"+5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size -5": (chunked(b"-5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size 0x5": (chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size 1_0": (chunked(b"1_0\r\nhellohellohello!\r\n0\r\n\r\n"), 400),
    "chunk size with a space before": (chunked(b" 5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size with a space behind": (chunked(b"5 \r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size with a vertical tab": (chunked(b"5\x0b\r\nhello\r\n0\r\n\r\n"), 400),
    "empty chunk size": (chunked(b"\r\nhello\r\n0\r\n\r\n"), 400),
    "sixteen digits": (chunked(b"0000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size of 2 to the 64": (chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk line with a bare LF": (chunked(b"5\nhello\r\n0\r\n\r\n"), 400),
    "chunk line with a bare CR": (chunked(b"5\rhello\r\n0\r\n\r\n"), 400),
    "chunk end is not CRLF": (chunked(b"5\r\nhelloXX0\r\n\r\n"), 400),
    "chunk end is a bare LF": (chunked(b"5\r\nhello\n0\r\n\r\n"), 400),
    "chunk end is a bare CR": (chunked(b"5\r\nhello\r0\r\n\r\n"), 400),
    "chunk is longer than its size": (chunked(b"4\r\nhello\r\n0\r\n\r\n"), 400),
    "last chunk with a bare LF": (chunked(b"0\n\r\n\r\n"), 400),
    "extension with a bare LF": (chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n"), 400),
    "extension without a name": (chunked(b"5;\r\nhello\r\n0\r\n\r\n"), 400),
    "extension with a space": (chunked(b"5; a=b\r\nhello\r\n0\r\n\r\n"), 400),
    "extension with a control octet": (chunked(b"5;a=\x01\r\nhello\r\n0\r\n\r\n"), 400),
    "extension with an open quote": (chunked(b'5;a="b\r\nhello\r\n0\r\n\r\n'), 400),
    "extension too long": (chunked(b"5;a=" + b"b" * 64 + b"\r\nhello\r\n0\r\n\r\n"), 400),
    # Trailers.
    "Content-Length in trailers": (chunked(b"0\r\nContent-Length: 5\r\n\r\n"), 400),
    "Transfer-Encoding in trailers": (chunked(b"0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
    "obs-fold in trailers": (chunked(b"0\r\nA: b\r\n c\r\n\r\n"), 400),
    "bare LF in trailers": (chunked(b"0\r\nA: b\n\r\n\r\n"), 400),
    "no colon in trailers": (chunked(b"0\r\nGET / HTTP/1.1\r\n\r\n"), 400),
    "space before the colon in trailers": (chunked(b"0\r\nA : b\r\n\r\n"), 400),
    "trailers too large": (chunked(b"0\r\nA: " + b"b" * 256 + b"\r\n\r\n"), 431),
    "too many trailers": (chunked(b"0\r\n" + b"A:\r\n" * 21 + b"\r\n"), 431),
    # Limits.
    "too many fields": (get(b"A: b\r\n" * 20), 431),
    "head too large": (get(b"A: " + b"b" * 4096 + b"\r\n"), 431),
    "target too long": (get(target=b"/" + b"a" * 4096), 414),
}

ACCEPTED_REQUESTS = {
    "plain": (get(), b""),
    "one empty line first": (b"\r\n" + get(), b""),
    "two empty lines first": (b"\r\n\r\n" + get(), b""),
    "unknown method": (get(method=b"FOO"), b""),
    "lower-case method": (get(method=b"get"), b""),
    "odd token as method": (get(method=b"!#$%&'*+-.^_`|~"), b""),
    "1.0 without Host": (get(version=b"HTTP/1.0", host=b""), b""),
    "CONNECT 1.0 without any field": (b"CONNECT a.example:443 HTTP/1.0\r\n\r\n", b""),
    "CONNECT 1.1 without Host": (b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", b""),
    "CONNECT with Host without port": (get(target=b"a.example:443", method=b"CONNECT"), b""),
    "CONNECT that closes": (get(b"Connection: close\r\n", target=b"a.example:443", method=b"CONNECT"), b""),
    "CONNECT with Content-Length 0": (get(b"Content-Length: 0\r\n", target=b"a.example:443", method=b"CONNECT"), b""),
    "CONNECT to port 80": (get(target=b"a.example:80", method=b"CONNECT"), b""),
    "CONNECT to IPv6": (get(target=b"[::1]:443", method=b"CONNECT"), b""),
    "absolute-form and another Host": (get(target=b"http://b.example/"), b""),
    "absolute-form without a path": (get(target=b"http://b.example"), b""),
    "absolute-form, query only": (get(target=b"http://b.example?x=1"), b""),
    "https absolute-form": (get(target=b"https://b.example/"), b""),
    "upper-case scheme": (get(target=b"HTTP://b.example/"), b""),
    "OPTIONS *": (get(target=b"*", method=b"OPTIONS"), b""),
    "OPTIONS * with an empty Host": (get(target=b"*", method=b"OPTIONS", host=b"Host:\r\n"), b""),
    "what browsers do not escape": (get(target=b"/a|b{c}[d]^e`f\"g<h>i'j(k)l*m;n,o=p?q|{}[]^`\"<>'"), b""),
    "two slashes": (get(target=b"//a//b"), b""),
    "percent-encoded NUL": (get(target=b"/%00"), b""),
    "value of obs-text": (get(b"A: caf\xc3\xa9\xff\r\n"), b""),
    "empty value": (get(b"A:\r\n"), b""),
    "value of white space": (get(b"A: \t \r\n"), b""),
    "white space round a value": (get(b"A:\t b \t\r\n"), b""),
    "tab within a value": (get(b"A: b\tc\r\n"), b""),
    "colons in a value": (get(b"A: b:c: d\r\n"), b""),
    "no space after the colon": (get(b"A:b\r\n"), b""),
    "length 0": (post(b"Content-Length: 0\r\n"), b""),
    "length 3": (post(b"Content-Length: 3\r\n", body=b"abc"), b"abc"),
    "length with white space round": (post(b"Content-Length:  3 \t\r\n", body=b"abc"), b"abc"),
    "length 003": (post(b"Content-Length: 003\r\n", body=b"abc"), b"abc"),
    "content that looks like a request": (
        post(b"Content-Length: 18\r\n", body=b"GET / HTTP/1.1\r\n\r\n"),
        b"GET / HTTP/1.1\r\n\r\n",
    ),
    "GET with content": (get(b"Content-Length: 3\r\n", body=b"abc"), b"abc"),
    "chunked": (chunked(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), b"hello world"),
    "Chunked": (post(b"Transfer-Encoding: Chunked\r\n", body=b"1\r\na\r\n0\r\n\r\n"), b"a"),
    "upper-case and padded sizes": (chunked(b"000A\r\n0123456789\r\n00\r\n\r\n"), b"0123456789"),
    "fifteen digits": (chunked(b"000000000000005\r\nhello\r\n000000000000000\r\n\r\n"), b"hello"),
    "extensions": (chunked(b'5;a;b=c;d="e;\\"f"\r\nhello\r\n0;z\r\n\r\n'), b"hello"),
    "trailers": (chunked(b"1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n"), b"a"),
    "CRLF within content": (chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), b"\r\n\r\n"),
    "as many fields as the limit": (get(b"A: b\r\n" * 19), b""),
}


def read_request(pieces):
    """Feed pieces; return the content of the first request once complete, or None when more is needed."""
    reader = RequestReader(LIMITS)
    content = b""
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next_event()) is not None:
            if isinstance(event, RequestHeadReceived):
                parse_target(event.head.method, event.head.target)
            elif isinstance(event, BodyReceived):
                content += event.data
            elif isinstance(event, MessageComplete):
                return content
    return None


def by_octet(data):
    """The octets of data as pieces."""
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize(("data", "status"), REFUSED_REQUESTS.values(), ids=REFUSED_REQUESTS.keys())
def test_refused_requests(data, status):
    """Each is refused, with its status, however it arrives; the message shows at most a safe fragment."""
    for pieces in ([data], by_octet(data), [data + get()]):
        with pytest.raises(FramingError) as caught:
            read_request(pieces)
        assert caught.value.status_hint == status
        assert caught.value.message.isascii()
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 160


@pytest.mark.parametrize(("data", "content"), ACCEPTED_REQUESTS.values(), ids=ACCEPTED_REQUESTS.keys())
def test_accepted_requests(data, content):
    """Each is accepted with the content in the table, however it arrives."""
    for pieces in ([data], by_octet(data), [data + get()]):
        assert read_request(pieces) == content


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH_3 = b"Content-Length: 3\r\n\r\nabc"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

REFUSED_RESPONSES = {
    "two Content-Lengths": (b"GET", OK + b"Content-Length: 4\r\n" + LENGTH_3),
    "two equal Content-Lengths": (b"GET", OK + b"Content-Length: 3\r\n" + LENGTH_3),
    "list of lengths": (b"GET", OK + b"Content-Length: 3, 3\r\n\r\nabc"),
    "length +3": (b"GET", OK + b"Content-Length: +3\r\n\r\nabc"),
    "length with a letter": (b"GET", OK + b"Content-Length: 3b\r\n\r\nabc"),
    "length and chunked": (b"GET", OK + CHUNKED + LENGTH_3),
    "length and chunked to HEAD": (b"HEAD", OK + CHUNKED + b"Content-Length: 3\r\n\r\n"),
    "chunked in 1.0": (b"GET", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n0\r\n\r\n"),
    "gzip coding": (b"GET", OK + b"Transfer-Encoding: gzip\r\n\r\n"),
    "gzip, chunked": (b"GET", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked twice": (b"GET", OK + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n"),
    "xchunked": (b"GET", OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "bare LF": (b"GET", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    "bare LF in the head": (b"GET", OK + b"A: b\nContent-Length: 0\r\n\r\n"),
    "obs-fold": (b"GET", OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    "space before the colon": (b"GET", OK + b"Content-Length : 3\r\n\r\nabc"),
    "NUL in a value": (b"GET", OK + b"A: \x00\r\nContent-Length: 0\r\n\r\n"),
    "CR in a value": (b"GET", OK + b"A: b\rc\r\nContent-Length: 0\r\n\r\n"),
    "empty name": (b"GET", OK + b": b\r\nContent-Length: 0\r\n\r\n"),
    "no colon": (b"GET", OK + b"nonsense\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/2": (b"GET", b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/2.0": (b"GET", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "http/1.1": (b"GET", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "ICY": (b"GET", b"ICY 200 OK\r\n\r\n"),
    "HTTP/0.9": (b"GET", b"<html>hello</html>\r\n\r\n"),
    "status 99": (b"GET", b"HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n"),
    "status 0200": (b"GET", b"HTTP/1.1 0200 OK\r\nContent-Length: 0\r\n\r\n"),
    "status 000": (b"GET", b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"),
    "status 2e2": (b"GET", b"HTTP/1.1 2e2 OK\r\nContent-Length: 0\r\n\r\n"),
    "status +20": (b"GET", b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n"),
    "no status": (b"GET", b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
    "two spaces before the status": (b"GET", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
    "ESC in the reason": (b"GET", b"HTTP/1.1 200 \x1b[2J\r\nContent-Length: 0\r\n\r\n"),
    "empty line first": (b"GET", b"\r\n" + OK + b"Content-Length: 0\r\n\r\n"),
    "bytes behind the answer": (b"GET", OK + LENGTH_3 + b"d"),
    "an answer behind the answer": (b"GET", (OK + LENGTH_3) * 2),
    "content of 204": (b"GET", b"HTTP/1.1 204 No Content\r\n" + LENGTH_3),
    "content of 304": (b"GET", b"HTTP/1.1 304 Not Modified\r\n" + LENGTH_3),
    "content of HEAD": (b"HEAD", OK + LENGTH_3),
    "chunk end is not CRLF": (b"GET", OK + CHUNKED + b"\r\n3\r\nabcXX0\r\n\r\n"),
    "chunk size 0x3": (b"GET", OK + CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n"),
    "padded chunk size": (b"GET", OK + CHUNKED + b"\r\n3  \r\nabc\r\n0\r\n\r\n"),
    "bare LF in chunks": (b"GET", OK + CHUNKED + b"\r\n3\nabc\n0\n\n"),
    "Content-Length in trailers": (b"GET", OK + CHUNKED + b"\r\n0\r\nContent-Length: 3\r\n\r\n"),
    "too many interim answers": (b"GET", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + OK + LENGTH_3),
    "too many fields": (b"GET", OK + b"A: b\r\n" * 21 + b"\r\n"),
    "head too large": (b"GET", OK + b"A: " + b"b" * 4096),
    "status line too long": (b"GET", b"HTTP/1.1 200 " + b"b" * 4096),
}

ACCEPTED_RESPONSES = {
    "length": (b"GET", OK + LENGTH_3, b"abc"),
    "until close": (b"GET", OK + b"\r\nabc", b"abc"),
    "1.0 until close": (b"GET", b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
    "chunked": (b"GET", OK + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
    "no reason": (b"GET", b"HTTP/1.1 200 \r\n" + LENGTH_3, b"abc"),
    "no reason and no space": (b"GET", b"HTTP/1.1 200\r\n" + LENGTH_3, b"abc"),
    "reason of obs-text": (b"GET", b"HTTP/1.1 200 D\xe9j\xe0 vu\r\n" + LENGTH_3, b"abc"),
    "status 999": (b"GET", b"HTTP/1.1 999 Request denied\r\n" + LENGTH_3, b"abc"),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "204 that says 0": (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b""),
    "304 with a length": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", b""),
    "HEAD with a length": (b"HEAD", OK + b"Content-Length: 3\r\n\r\n", b""),
    "HEAD with chunked": (b"HEAD", OK + CHUNKED + b"\r\n", b""),
    "refused CONNECT with content": (b"CONNECT", b"HTTP/1.1 403 Forbidden\r\n" + LENGTH_3, b"abc"),
    "interim answers": (
        b"GET",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + LENGTH_3,
        b"abc",
    ),
    "sixteen interim answers": (b"GET", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 16 + OK + LENGTH_3, b"abc"),
    "lines that are no lines": (b"GET", OK + b"Content-Length: 4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
}


def read_response(method, pieces):
    """Feed pieces, then EOF; return the content of the answer. Pull once more for what nobody asked for."""
    reader = ResponseReader(LIMITS)
    reader.expect(method)
    content = b""
    complete = False

    def pull():
        nonlocal content, complete
        while (event := reader.next_event()) is not None:
            if isinstance(event, BodyReceived):
                content += event.data
            complete = complete or isinstance(event, MessageComplete)
            assert isinstance(event, ResponseHeadReceived | BodyReceived | MessageComplete)

    for piece in pieces:
        reader.feed(piece)
        pull()
    reader.feed_eof()
    pull()
    assert complete
    return content


@pytest.mark.parametrize(("method", "data"), REFUSED_RESPONSES.values(), ids=REFUSED_RESPONSES.keys())
def test_refused_responses(method, data):
    """Each is refused, however it arrives."""
    for pieces in ([data], by_octet(data)):
        with pytest.raises(FramingError) as caught:
            read_response(method, pieces)
        assert caught.value.message.isascii()
        assert len(caught.value.message) < 160


@pytest.mark.parametrize(("method", "data", "content"), ACCEPTED_RESPONSES.values(), ids=ACCEPTED_RESPONSES.keys())
def test_accepted_responses(method, data, content):
    """Each is accepted with the content in the table, however it arrives."""
    for pieces in ([data], by_octet(data)):
        assert read_response(method, pieces) == content


def test_the_table_is_large():
    """At least 120 rows are hostile."""
    assert len(REFUSED_REQUESTS) + len(REFUSED_RESPONSES) >= 120
