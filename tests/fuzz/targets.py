"""What is fuzzed: functions of bytes that raise AssertionError, or anything unforeseen, when a promise is broken.

Each returns a short word for what happened, by which the mutation fuzzer tells new inputs from old ones. `SEEDS` gives
each target what to start from. How inputs are made is not here (`mutation`, or atheris).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from netfw.config.document import parse_yaml
from netfw.config.errors import ConfigErrors
from netfw.http1.bodies import body_printer
from netfw.http1.errors import FramingError
from netfw.http1.events import BodyReceived, MessageComplete, RequestHeadReceived, ResponseHeadReceived
from netfw.http1.forwarding import forward_request, forward_response, max_forwards, outgoing_framing
from netfw.http1.heads import RequestHead, ResponseHead, print_request_head, print_response_head
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import MessageReader, RequestReader, ResponseReader
from netfw.http1.target import TargetForm, parse_target
from netfw.names.authority import AuthorityError, parse_authority
from netfw.names.host import HostError, host_from_text, parse_host
from netfw.policy.compile import compile_policy
from netfw.policy.decision import Decision, Open
from netfw.policy.evaluate import evaluate
from netfw.policy.facts import Facts
from netfw.policy.load import load_policy
from netfw.policy.model import Phase
from netfw.policy.problems import PolicyErrors
from netfw.telemetry.record_values import VALUE_LIMIT, path_text, peer_text, query_text
from netfw.testing import proxy_headers
from netfw.tls.client_hello import ClientHello, ClientHelloError, ClientHelloReader, read_client_hello
from netfw.transport.dns_codes import RecordType
from netfw.transport.dns_message import MAX_ADDRESSES, MAX_CHAIN, Question, read_answer
from netfw.transport.proxy_header import LARGEST_HEADER, ProxyHeader, ProxyHeaderError, ProxyHeaderReader

CORPUS = Path(__file__).parents[1] / "corpus"
LIMITS = HeadLimits(head_size=4096, head_fields=50, chunk_line=64, trailer_size=512)
AUTHORITY = parse_authority(b"origin.test:8080")
QUESTION = Question("www.example.test", RecordType.A)
# A line that a head of ours must never hold: whoever reads it sees another message.
NOT_A_LINE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

Seen = tuple[list[object], bytes, str]


def _word(message: str) -> str:
    """A message without what the input put into it."""
    return re.sub(r"\d+|b?'.*'|b?\".*\"", "", message)[:80]


def _pull(reader: MessageReader, pieces: list[bytes]) -> Seen:
    """The heads and ends, the content, and how it ended, of one message fed in pieces."""
    heads: list[object] = []
    content = b""
    try:
        for piece in pieces:
            reader.feed(piece)
            while (event := reader.next_event()) is not None:
                if isinstance(event, BodyReceived):
                    content += event.data
                else:
                    heads.append(event)
    except FramingError as error:
        return heads, content, _word(error.message)
    return heads, content, "more" if not heads or not isinstance(heads[-1], MessageComplete) else "whole"


def _pieces(data: bytes) -> list[bytes]:
    """A split that the input itself chooses."""
    step = sum(data[:16]) % 7 + 1
    return [data[at : at + step] for at in range(0, len(data), step)]


def _check_lines(printed: bytes) -> None:
    assert printed.endswith(b"\r\n\r\n")
    for line in printed[:-4].split(b"\r\n"):
        assert line
        assert NOT_A_LINE.search(line) is None, line


def request_reader(data: bytes) -> str:
    """A request is the same request however it is split; what we print of it, we read again as one message."""
    whole, split = _pull(RequestReader(LIMITS), [data]), _pull(RequestReader(LIMITS), _pieces(data))
    assert (whole[0], whole[2]) == (split[0], split[2]) or (split[2] not in ("whole",)), (whole, split)
    assert whole[1].startswith(split[1]) or split[1].startswith(whole[1])
    assert ("whole" in (whole[2], split[2])) == (whole[2] == split[2] == "whole")
    if not whole[0] or not isinstance(whole[0][0], RequestHeadReceived):
        return whole[2]
    event = whole[0][0]
    head: RequestHead = event.head
    try:
        target = parse_target(head.method, head.target)
        if max_forwards(head) == 0:
            return "max-forwards"
    except FramingError:
        return "target"
    if head.method == b"CONNECT":
        return "connect"
    out = forward_request(head, target, authority=AUTHORITY, via=b"me", framing=event.framing)
    printed = print_request_head(out)
    _check_lines(printed)
    if whole[2] == "whole":
        printer = body_printer(event.framing)
        end = whole[0][-1]
        assert isinstance(end, MessageComplete)
        message = printed + b"".join(printer.data(whole[1])) + b"".join(printer.end(end.trailers))
        again = RequestReader(HeadLimits(head_size=1 << 20, head_fields=500, chunk_line=64, trailer_size=4096))
        heads, content, how = _pull(again, [message])
        assert (how, content, again.buffered) == ("whole", whole[1], 0), message
        assert isinstance(heads[0], RequestHeadReceived)
        assert heads[0].head.fields.get_all(b"host") == [b"origin.test:8080"]
        assert not heads[0].head.fields.has(b"proxy-authorization")
    return f"forwarded {event.framing.kind.value} {whole[2]}"


def response_reader(data: bytes) -> str:
    """The same for answers to a method that the first octet chooses."""
    method = (b"GET", b"HEAD", b"CONNECT", b"POST")[data[0] % 4] if data else b"GET"

    def reader() -> ResponseReader:
        made = ResponseReader(LIMITS)
        made.expect(method)
        return made

    data = data[1:]
    whole, split = _pull(reader(), [data]), _pull(reader(), _pieces(data))
    assert [head for head in whole[0] if isinstance(head, ResponseHeadReceived)][: len(split[0])] == [
        head for head in split[0] if isinstance(head, ResponseHeadReceived)
    ][: len(whole[0])]
    assert whole[1].startswith(split[1]) or split[1].startswith(whole[1])
    for event in whole[0]:
        if isinstance(event, ResponseHeadReceived):
            head: ResponseHead = event.head
            if method == b"CONNECT" and 200 <= head.status < 300:
                continue  # a tunnel's head: its lengths mean nothing (RFC 9110, 9.3.6), and it is never forwarded
            framing = outgoing_framing(event.framing, (1, 1))
            out = forward_response(head, via=b"me", framing=framing, client_version=(1, 1))
            _check_lines(print_response_head(out))
            if head.status < 200 or head.status in (204, 304) or method == b"HEAD":
                assert whole[1] == b"" or len(whole[0]) > 1
            again = ResponseReader(HeadLimits(head_size=1 << 20, head_fields=500, chunk_line=64, trailer_size=4096))
            again.expect(method)
            again.feed(print_response_head(out))
            seen = again.next_event()
            assert isinstance(seen, ResponseHeadReceived)
            assert seen.head.status == head.status
    return whole[2]


def target(data: bytes) -> str:
    """A target that is taken has a canonical authority and an origin-form that is one word."""
    method, _, rest = data.partition(b" ")
    try:
        found = parse_target(method, rest)
    except FramingError as error:
        return _word(error.message)
    if found.authority is not None:
        assert parse_authority(found.authority.to_bytes()) == found.authority
        assert 1 <= found.authority.port <= 65535
    if found.form is not TargetForm.AUTHORITY:
        assert re.fullmatch(rb"[!-~]+", found.origin_form), found
        assert b"#" not in found.origin_form
        assert found.origin_form == b"*" or found.origin_form.startswith(b"/")
    return found.form.value


def host(data: bytes) -> str:
    """A host has one canonical text: parsing it again changes nothing, and configuration agrees with the wire."""
    try:
        found = parse_host(data)
    except HostError as error:
        try:
            host_from_text(data.decode("utf-8", "replace"))
        except HostError:
            pass
        return str(error)
    assert parse_host(found.bracketed.encode()) == found
    assert host_from_text(data.decode("ascii")) == found
    assert found.text == found.text.lower()
    assert not found.text.endswith(".")
    assert len(found.text) <= 253
    if found.address is not None:
        assert ip_address(found.text) == found.address
    else:
        assert re.fullmatch(r"[a-z0-9_.-]+", found.text)
        try:
            ip_address(found.text)
        except ValueError:
            return "name"
        raise AssertionError(f"{found.text} is an address")
    return "address"


def authority(data: bytes) -> str:
    """The same with a port."""
    try:
        found = parse_authority(data, 80)
    except AuthorityError as error:
        return str(error)
    assert parse_authority(str(found).encode()) == found
    assert parse_authority(found.host_field(80), 80) == found
    return "authority"


def client_hello(data: bytes) -> str:
    """A ClientHello says the same in one piece and octet by octet, and its name is a host name."""

    def read(pieces: list[bytes]) -> ClientHello | str:
        reader = ClientHelloReader()
        try:
            for piece in pieces:
                if (hello := reader.feed(piece)) is not None:
                    return hello
        except ClientHelloError as error:
            return error.problem.value
        return "more"

    whole, split = read([data]), read([data[at : at + 1] for at in range(len(data))])
    assert whole == split, (whole, split)
    if isinstance(whole, str):
        return whole
    assert read_client_hello(data) == whole
    if whole.server_name is not None:
        assert whole.host is not None
        assert not whole.host.is_address
        assert parse_host(whole.server_name) == whole.host
    return f"hello {whole.server_name is None} {bool(whole.alpn)} {whole.has_ech} {len(whole.versions)}"


def proxy_header(data: bytes) -> str:
    """A PROXY header says the same in one piece and octet by octet, and never waits for more than its limit."""

    def read(pieces: list[bytes]) -> tuple[ProxyHeader, int] | str:
        reader = ProxyHeaderReader()
        fed = 0
        try:
            for piece in pieces:
                fed += len(piece)
                if (found := reader.feed(piece)) is not None:
                    return found[0], fed - len(found[1])
        except ProxyHeaderError as error:
            return str(error)
        assert len(reader) < LARGEST_HEADER
        return "more"

    whole, split = read([data]), read([data[at : at + 1] for at in range(len(data))])
    assert isinstance(whole, str) == isinstance(split, str), (whole, split)
    if isinstance(whole, str):
        return whole
    assert whole == split, (whole, split)
    header = whole[0]
    assert (header.source is None) == (header.destination is None)
    assert header.source is None or header.source.version == header.destination.version  # type: ignore[union-attr]
    assert 0 <= header.source_port <= 65535
    assert header.vpce is None or re.fullmatch(r"vpce-[0-9a-f]+", header.vpce)
    return f"header {header.source is None} {data[:1] == b'P'} {header.vpce is None}"


def dns_answer(data: bytes) -> str:
    """Nothing is raised, nothing is without bound, and another identity is never an answer."""
    found = read_answer(data, 7, QUESTION)
    identity = int.from_bytes(data[:2], "big")
    if found is None:
        return "none"
    assert identity == 7
    assert read_answer(data, 8, QUESTION) is None
    assert len(found.addresses) <= MAX_ADDRESSES
    assert len(found.chain) <= MAX_CHAIN + 1
    assert 0 <= found.ttl < 1 << 31
    assert all(address.version == 4 for address in found.addresses)
    return f"{found.code} {found.truncated} {found.looped} {min(len(found.addresses), 2)} {min(len(found.chain), 2)}"


FACTS = Facts(
    source_ip=ip_address("10.0.0.1"), source_port=4711, time=1.7e9, protocol="http",
    destination_domain="www.example.test", destination_port=80, destination_ip=ip_address("192.0.2.1"),
)  # fmt: skip
FACTS.hide_http()


def policy(data: bytes) -> str:
    """Any text is a policy that decides, or a list of problems in one line each; nothing else comes out."""
    text = data.decode("utf-8", "replace")
    try:
        document = parse_yaml(text, "fuzz")
    except ConfigErrors:
        return "yaml"
    try:
        configuration = load_policy(document, "fuzz")
    except PolicyErrors as errors:
        assert errors.problems
        first = str(errors.problems[0])
        assert "\n" not in first
        return _word(first)
    compiled = compile_policy(configuration, 1, 1.7e9)
    for phase in Phase:
        assert isinstance(evaluate(compiled, phase, FACTS), Decision | Open)
    return "policy"


def record_values(data: bytes) -> str:
    """What a peer chose is cut, comes out of JSON as one line of ASCII, and has no password in it."""
    for show in (peer_text, path_text, query_text):
        text = show(data)
        assert len(text) <= VALUE_LIMIT + 64 or show is not peer_text
        line = json.dumps(text)
        assert re.fullmatch(r"[ -~]*", line)
    assert "hunter2" not in query_text(b"password=hunter2&" + data.replace(b"hunter2", b""))
    return f"{len(data) > VALUE_LIMIT} {b'=' in data} {b'@' in data} {b';' in data}"


TARGETS: dict[str, Callable[[bytes], str]] = {
    function.__name__: function
    for function in (
        request_reader, response_reader, target, host, authority, client_hello, proxy_header, dns_answer, policy,
        record_values,
    )
}  # fmt: skip
try:
    from oracles import request_oracles, response_oracles
except ImportError:
    pass  # httptools is missing or too old; the readers' own promises are fuzzed all the same
else:
    TARGETS |= {"request_oracles": request_oracles, "response_oracles": response_oracles}


def _http(direction: str) -> list[bytes]:
    table = tomllib.loads((CORPUS / "http1" / "cases.toml").read_text())
    return [
        (CORPUS / "http1" / f"{name}.bin").read_bytes()
        for name, case in table.items()
        if case["direction"] == direction
    ]


def _hostile(name: str) -> list[bytes]:
    table = tomllib.loads((CORPUS / "hostile" / f"{name}.toml").read_text())
    sends = [case["send"] if isinstance(case["send"], str) else "".join(case["send"]) for case in table.values()]
    made = []
    for text in sends:
        for method in ("GET", "POST"):
            text = text.replace(f"{{{method}}}", f"{method} http://{{A}}/ HTTP/1.1\r\nHost: {{A}}\r\n")
        made.append(text.replace("{A}", "origin.test:8080").replace("{P}", "8080").encode("latin-1"))
    return made


def seeds(name: str) -> list[bytes]:
    """What to begin with."""
    if name in ("request_reader", "request_oracles"):
        return _http("request") + _hostile("requests")
    if name == "response_reader":
        return [bytes([at % 4]) + data for at, data in enumerate(_http("response") + _hostile("responses"))]
    if name == "response_oracles":
        return _http("response") + _hostile("responses")
    if name == "proxy_header":
        return _proxy_headers()
    if name == "target":
        return [data.split(b" HTTP/", 1)[0] for data in _hostile("requests")] + [b"OPTIONS *", b"CONNECT [::1]:443"]
    if name in ("host", "authority"):
        hosts = [b"www.example.test", b"[::ffff:10.0.0.1]", b"127.0.0.1", b"xn--bcher-kva.test.", b"0x7f.1", b"a_b.c"]
        return hosts if name == "host" else [found + b":8080" for found in hosts] + hosts
    if name == "client_hello":
        return [path.read_bytes() for path in sorted((CORPUS / "client_hello").glob("*.bin"))]
    if name == "dns_answer":
        return [
            bytes.fromhex("".join(json.loads(path.read_text())["hex"]))
            for path in sorted((CORPUS / "dns").glob("*.json"))
        ]
    if name == "policy":
        example = Path(__file__).parents[2] / "etc" / "policy.yaml"
        made = [example.read_bytes()] if example.exists() else []
        return [*made, POLICY]
    return [b"/path;sid=1/x", b"a=1&password=2", b"http://u:p@h/?token=x", b"\xff\x1b[2J" * 3]


def _proxy_headers() -> list[bytes]:
    extensions = proxy_headers.extension(4, b"pad") + proxy_headers.endpoint("vpce-0123456789abcdef0")
    return [
        proxy_headers.line("192.0.2.7") + b"GET / HTTP/1.1\r\n",
        proxy_headers.line("2001:db8::7"),
        b"PROXY UNKNOWN ffff::1 whatever\r\n",
        proxy_headers.binary("192.0.2.7", extensions=extensions) + b"GET",
        proxy_headers.binary("2001:db8::7"),
        proxy_headers.local(),
    ]


POLICY = b"""
ProxyConfiguration:
  ProxyConfigurationName: fuzz
  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: ALERT, PostRESPONSE: ALLOW}
  RuleGroups: [one]
ProxyRuleGroups:
  - ProxyRuleGroupName: one
    Rules:
      PreDNS:
        - {ProxyRuleName: a, Action: ALLOW, Conditions: [{ConditionKey: 'request:DestinationDomain',
           ConditionOperator: StringLike, ConditionValues: ['*.example.test', 'x*y?z']}]}
        - {ProxyRuleName: b, Action: DENY, Conditions: [{ConditionKey: 'request:SourceIp',
           ConditionOperator: IpAddress, ConditionValues: ['10.0.0.0/8', '2001:db8::/32']}]}
      PreREQUEST:
        - {ProxyRuleName: c, Action: ALERT, Conditions: [{ConditionKey: 'request:Http:Header/User-Agent',
           ConditionOperator: StringNotLike, ConditionValues: ['curl/*']}]}
        - {ProxyRuleName: d, Action: DENY, Conditions: [{ConditionKey: 'request:DestinationPort',
           ConditionOperator: NumericGreaterThan, ConditionValues: ['1024']}]}
      PostRESPONSE:
        - {ProxyRuleName: e, Action: DENY, Conditions: [{ConditionKey: 'response:Http:StatusCode',
           ConditionOperator: NumericEquals, ConditionValues: ['500', '503']}]}
"""
