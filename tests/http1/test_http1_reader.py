"""The readers: order of events, splits, persistence, ends, limits, what is handed over unread."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.http1.errors import FramingError, IncompleteMessage
from netfw.http1.events import BodyReceived, MessageComplete, RequestHeadReceived, ResponseHeadReceived
from netfw.http1.fields import Fields
from netfw.http1.framing import Framing
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import RequestReader, ResponseReader
from netfw.testing.living_objects import alive

LIMITS = HeadLimits(head_size=4096, head_fields=20, chunk_line=64, trailer_size=256)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX-Sum: 7\r\n\r\n"
)


def pull(reader):
    """Every event that is there, in a list."""
    return list(iter(reader.next_event, None))


def joined(events):
    """The events with neighbouring content joined: where content is cut says nothing."""
    result = []
    for event in events:
        if isinstance(event, BodyReceived) and result and isinstance(result[-1], BodyReceived):
            result[-1] = BodyReceived(result[-1].data + event.data)
        else:
            result.append(event)
    return result


def read_requests(pieces):
    """All events of a stream of requests, `start_next` called after each."""
    reader = RequestReader(LIMITS)
    events = []
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next_event()) is not None:
            events.append(event)
            if isinstance(event, MessageComplete):
                reader.start_next()
    return joined(events)


def read_responses(methods, pieces):
    """All events of the answers to requests of these methods, the connection closed at the end."""
    reader = ResponseReader(LIMITS)
    waiting = list(methods)
    reader.expect(waiting.pop(0))
    events = []

    def take():
        while (event := reader.next_event()) is not None:
            events.append(event)

    for piece in pieces:
        reader.feed(piece)
        take()
        if events and isinstance(events[-1], MessageComplete) and waiting:
            reader.expect(waiting.pop(0))
    reader.feed_eof()
    take()
    return joined(events)


def test_events_of_requests_in_order():
    """A pipeline of requests comes out one after the other, each head with its framing, each body with its trailers."""
    events = read_requests([GET + POST + CHUNKED + GET])
    kinds = [type(event).__name__ for event in events]
    assert kinds == [
        "RequestHeadReceived",
        "MessageComplete",
        "RequestHeadReceived",
        "BodyReceived",
        "MessageComplete",
        "RequestHeadReceived",
        "BodyReceived",
        "MessageComplete",
        "RequestHeadReceived",
        "MessageComplete",
    ]
    assert [event.framing for event in events if isinstance(event, RequestHeadReceived)] == [
        Framing.NONE,
        Framing.of_length(5),
        Framing.CHUNKED,
        Framing.NONE,
    ]
    assert events[3].data == b"hello"
    assert events[6].data == b"hello world"
    assert events[7].trailers == Fields([(b"X-Sum", b"7")])


def test_a_request_head_is_taken_apart():
    """Method, target, version and fields are as they were sent, case and order kept, white space round values gone."""
    reader = RequestReader(LIMITS)
    reader.feed(b"pAtCh http://a/b?c HTTP/1.0\r\nb: 2 \r\nHOST:a\r\nB:\t1\r\n\r\n")
    head = reader.next_event().head
    assert (head.method, head.target, head.version) == (b"pAtCh", b"http://a/b?c", (1, 0))
    assert head.fields.lines == [(b"b", b"2"), (b"HOST", b"a"), (b"B", b"1")]


STREAM = b"\r\n" + GET + POST + CHUNKED + b"GET / HTTP/1.1\r\nHost: a\r\nA: b \t\r\n\r\n"


def test_every_split_gives_the_same_requests():
    """Cut once at every octet, or at all of them, a stream gives the same events."""
    expected = read_requests([STREAM])
    assert len(expected) == 10
    for cut in range(len(STREAM)):
        assert read_requests([STREAM[:cut], STREAM[cut:]]) == expected
    assert read_requests([STREAM[i : i + 1] for i in range(len(STREAM))]) == expected


@given(st.lists(st.integers(1, len(STREAM)), max_size=8))
def test_many_cuts_give_the_same_requests(cuts):
    """Any number of cuts anywhere changes nothing."""
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    assert read_requests(pieces) == read_requests([STREAM])


RESPONSES = [
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil close",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200\r\nA: b \r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("response", RESPONSES, ids=range(len(RESPONSES)))
def test_every_split_gives_the_same_response(response):
    """Cut once at every octet, or at all of them, a response gives the same events."""
    expected = read_responses([b"GET"], [response])
    assert isinstance(expected[-1], MessageComplete)
    for cut in range(len(response)):
        assert read_responses([b"GET"], [response[:cut], response[cut:]]) == expected
    assert read_responses([b"GET"], [response[i : i + 1] for i in range(len(response))]) == expected


def test_bytes_fed_at_once_or_before_pulling_are_the_same():
    """Feeding without pulling keeps everything in order."""
    reader = RequestReader(LIMITS)
    for i in range(0, len(POST), 3):
        reader.feed(POST[i : i + 3])
    assert reader.buffered == len(POST)
    assert joined(pull(reader))[1] == BodyReceived(b"hello")
    assert reader.buffered == 0


def test_the_reader_stands_still_behind_a_request():
    """The next request is not looked at before `start_next`, so that answers keep their order."""
    reader = RequestReader(LIMITS)
    reader.feed(GET + b"nonsense\r\n\r\n")
    assert [type(event) for event in pull(reader)] == [RequestHeadReceived, MessageComplete]
    assert reader.next_event() is None
    assert reader.buffered == len(b"nonsense\r\n\r\n")
    reader.start_next()
    with pytest.raises(FramingError):
        reader.next_event()


def test_start_next_within_a_request_is_a_mistake():
    """`start_next` belongs behind MessageComplete."""
    reader = RequestReader(LIMITS)
    with pytest.raises(RuntimeError):
        reader.start_next()
    reader.feed(POST[:-1])
    pull(reader)
    with pytest.raises(RuntimeError):
        reader.start_next()


def test_what_is_behind_connect_is_kept_for_the_tunnel():
    """Early bytes of a tunnel come out by `remaining`, once, whatever they are."""
    reader = RequestReader(LIMITS)
    reader.feed(b"CONNECT a:443 HTTP/1.1\r\n\r\n\x16\x03\x01")
    assert [type(event) for event in pull(reader)] == [RequestHeadReceived, MessageComplete]
    reader.feed(b"\r\n\r\nGET")
    assert reader.next_event() is None
    assert reader.remaining() == b"\x16\x03\x01\r\n\r\nGET"
    assert reader.remaining() == b""
    assert reader.buffered == 0


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"CONNECT", b"HTTP/1.1 200 Connected\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"CONNECT", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    ],
)
def test_tunnels_and_upgrades_end_the_reading_of_responses(method, head):
    """After 2xx to CONNECT and after 101 the bytes are somebody else's; there is no MessageComplete."""
    reader = ResponseReader(LIMITS)
    reader.expect(method)
    reader.feed(head + b"\x00\x01tunnel")
    (event,) = pull(reader)
    assert event.framing == Framing.NONE
    reader.feed(b"more")
    assert reader.next_event() is None
    assert reader.remaining() == b"\x00\x01tunnelmore"
    reader.feed_eof()
    assert reader.next_event() is None


def test_interim_responses_are_followed_by_another_head():
    """1xx heads are events of their own, without MessageComplete."""
    events = read_responses([b"GET"], [RESPONSES[0]])
    assert [type(event) for event in events] == [
        ResponseHeadReceived,
        ResponseHeadReceived,
        BodyReceived,
        MessageComplete,
    ]
    assert [event.head.status for event in events[:2]] == [100, 200]


def test_interim_responses_are_counted_anew_for_each_request():
    """Sixteen interim responses pass each time, the seventeenth never."""
    reader = ResponseReader(LIMITS)
    for _ in range(3):
        reader.expect(b"GET")
        reader.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 16 + b"HTTP/1.1 204 No Content\r\n\r\n")
        assert len(pull(reader)) == 18
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17)
    with pytest.raises(FramingError):
        pull(reader)


def test_bytes_that_nobody_asked_for():
    """An idle connection that speaks is not to be used: pulling raises, and so does the next `expect`."""
    reader = ResponseReader(LIMITS)
    reader.feed(RESPONSES[0])
    with pytest.raises(FramingError):
        reader.next_event()
    other = ResponseReader(LIMITS)
    other.feed(b"H")
    with pytest.raises(FramingError):
        other.expect(b"GET")
    behind = ResponseReader(LIMITS)
    behind.expect(b"GET")
    behind.feed(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert isinstance(behind.next_event(), ResponseHeadReceived)
    assert isinstance(behind.next_event(), MessageComplete)
    assert behind.buffered
    with pytest.raises(FramingError):
        behind.expect(b"GET")
    with pytest.raises(FramingError):
        behind.expect(b"GET")


def test_expect_within_a_response_is_a_mistake():
    """One response at a time."""
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    with pytest.raises(RuntimeError):
        reader.expect(b"GET")


def test_a_reader_that_failed_is_spent():
    """The same error is raised for ever, and no bytes are kept."""
    reader = RequestReader(LIMITS)
    reader.feed(b"nonsense\r\n\r\n" + GET)
    with pytest.raises(FramingError) as first:
        reader.next_event()
    reader.feed(GET)
    assert reader.buffered == 0
    with pytest.raises(FramingError) as second:
        reader.next_event()
    assert second.value is first.value
    reader.feed_eof()
    answers = ResponseReader(LIMITS)
    answers.expect(b"GET")
    answers.feed(b"nonsense\r\n\r\n")
    with pytest.raises(FramingError):
        answers.next_event()


def test_content_comes_out_as_the_object_that_was_fed():
    """A feed that lies wholly within a body is not copied, whatever the framing."""
    piece = b"x" * 1000
    for head in (b"Content-Length: 5000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nffff\r\n", b"\r\n"):
        reader = ResponseReader(LIMITS)
        reader.expect(b"GET")
        reader.feed(b"HTTP/1.1 200 OK\r\n" + head)
        assert isinstance(reader.next_event(), ResponseHeadReceived)
        assert reader.next_event() is None
        reader.feed(piece)
        assert reader.next_event().data is piece


def test_content_in_front_of_a_broken_chunk_is_handed_out_first():
    """What was well framed comes out, then the error, for ever."""
    reader = RequestReader(LIMITS)
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\nxyz\r\n")
    reader.next_event()
    assert reader.next_event() == BodyReceived(b"abcde")
    for _ in range(2):
        with pytest.raises(FramingError):
            reader.next_event()


# The end of the stream.


@pytest.mark.parametrize("message", [GET, POST, CHUNKED], ids=["GET", "POST", "chunked"])
def test_a_request_cut_short_is_incomplete_at_every_octet(message):
    """EOF within a request raises IncompleteMessage, at once when everything was pulled."""
    for cut in range(1, len(message)):
        reader = RequestReader(LIMITS)
        reader.feed(message[:cut])
        pull(reader)
        with pytest.raises(IncompleteMessage):
            reader.feed_eof()
        with pytest.raises(IncompleteMessage):
            reader.next_event()
        late = RequestReader(LIMITS)
        late.feed(message[:cut])
        late.feed_eof()
        with pytest.raises(IncompleteMessage):
            pull(late)


@pytest.mark.parametrize("response", [RESPONSES[0], RESPONSES[1]], ids=["length", "chunked"])
def test_a_response_cut_short_is_incomplete_at_every_octet(response):
    """EOF within a response raises IncompleteMessage; so does EOF instead of a response."""
    for cut in range(len(response)):
        with pytest.raises(IncompleteMessage):
            read_responses([b"GET"], [response[:cut]])


def test_eof_between_messages_is_an_end():
    """A client may leave before, between and behind requests, an origin between responses."""
    reader = RequestReader(LIMITS)
    reader.feed_eof()
    assert reader.next_event() is None
    reader = RequestReader(LIMITS)
    reader.feed(GET)
    pull(reader)
    reader.feed_eof()
    reader.start_next()
    assert reader.next_event() is None
    answers = ResponseReader(LIMITS)
    answers.feed_eof()
    assert answers.next_event() is None


def test_eof_ends_a_body_that_is_until_close():
    """EOF completes it, whether or not its content was pulled before."""
    for pulled in (True, False):
        reader = ResponseReader(LIMITS)
        reader.expect(b"GET")
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
        events = pull(reader) if pulled else []
        reader.feed_eof()
        events += pull(reader)
        assert events[1:] == [BodyReceived(b"abc"), MessageComplete(Fields.EMPTY)]


# Limits: at the edge, and one beyond.


def request_of(size):
    """A GET whose head is exactly this long."""
    return GET[:-2] + b"A: " + b"b" * (size - len(GET) - 5) + b"\r\n\r\n"


@pytest.mark.parametrize("whole", [True, False])
def test_head_size(whole):
    """A head of exactly the limit passes, one octet more is 431, however it arrives."""

    def read(data):
        pieces = [data] if whole else [data[i : i + 1] for i in range(len(data))]
        return read_requests(pieces)

    assert len(request_of(4096)) == 4096
    assert len(read(request_of(4096))) == 2
    with pytest.raises(FramingError) as caught:
        read(request_of(4097))
    assert caught.value.status_hint == 431


def test_head_size_is_enforced_while_reading():
    """A head that can no longer fit is refused before its end has come; so is a request line, with 414."""
    reader = RequestReader(LIMITS)
    reader.feed(request_of(5000)[:4095])
    assert reader.next_event() is None
    reader.feed(b"b")
    with pytest.raises(FramingError) as caught:
        reader.next_event()
    assert caught.value.status_hint == 431
    line = RequestReader(LIMITS)
    line.feed(b"GET /" + b"a" * 4091)
    with pytest.raises(FramingError) as caught:
        line.next_event()
    assert caught.value.status_hint == 414


def test_head_fields():
    """As many fields as the limit pass, one more is 431."""
    assert len(read_requests([GET[:-2] + b"A: b\r\n" * 19 + b"\r\n"])) == 2
    with pytest.raises(FramingError) as caught:
        read_requests([GET[:-2] + b"A: b\r\n" * 20 + b"\r\n"])
    assert caught.value.status_hint == 431


def chunked(body):
    """A chunked request with this body as it stands."""
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body


@pytest.mark.parametrize("whole", [True, False])
def test_chunk_line(whole):
    """A chunk line of exactly the limit passes, one octet more does not."""

    def read(length):
        data = chunked(b"5;" + b"x" * (length - 2) + b"\r\nhello\r\n0\r\n\r\n")
        return read_requests([data] if whole else [data[i : i + 1] for i in range(len(data))])

    assert len(read(64)) == 3
    with pytest.raises(FramingError):
        read(65)


def test_chunk_line_is_enforced_while_reading():
    """An endless chunk line is refused when it has outgrown the limit."""
    reader = RequestReader(LIMITS)
    reader.feed(chunked(b"5;" + b"x" * 62 + b"\r"))
    pull(reader)
    other = RequestReader(LIMITS)
    other.feed(chunked(b"5;" + b"x" * 64))
    with pytest.raises(FramingError):
        pull(other)


@pytest.mark.parametrize("whole", [True, False])
def test_trailer_size(whole):
    """A trailer section of exactly the limit passes, one octet more is 431."""

    def read(size):
        data = chunked(b"0\r\nA: " + b"b" * (size - 7) + b"\r\n\r\n")
        return read_requests([data] if whole else [data[i : i + 1] for i in range(len(data))])

    assert len(read(256)) == 2
    with pytest.raises(FramingError) as caught:
        read(257)
    assert caught.value.status_hint == 431


def test_chunk_extensions_in_sum():
    """Many chunks with more extension than content are refused in the end, honest ones never."""
    line = b";" + b"x" * 60
    with pytest.raises(FramingError):
        read_requests([chunked((b"1" + line + b"\r\na\r\n") * 1000)])
    assert read_requests([chunked((b"400" + line + b"\r\n" + b"a" * 1024 + b"\r\n") * 1000 + b"0\r\n\r\n")])


def test_a_small_chunk_line_limit_is_obeyed_by_the_fast_loop_too():
    """A limit below fifteen digits holds for lines without extensions as well."""
    limits = HeadLimits(head_size=4096, head_fields=20, chunk_line=2, trailer_size=256)
    reader = RequestReader(limits)
    reader.feed(chunked(b"01\r\na\r\n001\r\nb\r\n0\r\n\r\n"))
    with pytest.raises(FramingError):
        pull(reader)


def test_one_octet_chunks_need_no_recursion():
    """A hundred thousand chunks of one octet come out as one piece of content."""
    events = read_requests([chunked(b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n")])
    assert events[1].data == b"a" * 100_000


def test_a_reader_is_freed_without_the_collector():
    """No reference cycle: readers come and go with connections, and full collections cost latency."""
    gc.disable()
    try:
        before = alive(RequestReader), alive(ResponseReader)
        reader = RequestReader(LIMITS)
        reader.feed(CHUNKED[:-20])
        pull(reader)
        answers = ResponseReader(LIMITS)
        answers.expect(b"GET")
        assert (alive(RequestReader), alive(ResponseReader)) == (before[0] + 1, before[1] + 1)
        del reader, answers
        assert (alive(RequestReader), alive(ResponseReader)) == before
    finally:
        gc.enable()


def test_repr_shows_where_a_reader_is():
    """Step and amount buffered, and no bytes of the peer."""
    reader = RequestReader(LIMITS)
    reader.feed(b"GET /secret")
    assert repr(reader) == "<RequestReader read_head, buffered 11>"


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\r\n", GET, b"0\r\n\r\n", POST, b"GET / HTTP/1.1\r\n"])))
def test_any_bytes_give_events_or_a_framing_error(pieces):
    """Nothing but FramingError ever comes out of a reader, whatever goes in, in either direction."""
    reader = RequestReader(LIMITS)
    answers = ResponseReader(LIMITS)
    answers.expect(b"GET")
    for one in (reader, answers):
        try:
            for piece in pieces:
                one.feed(piece)
                pull(one)
            one.feed_eof()
            pull(one)
        except FramingError:
            pass


def test_a_body_may_go_by():
    """What is still to be fed of a body is known, and may go by; then the message ends as if it had been fed."""
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    assert reader.unfed == 0
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")
    assert isinstance(reader.next_event(), ResponseHeadReceived)
    assert reader.unfed == 0  # two of it wait
    with pytest.raises(RuntimeError, match="1 bytes cannot have gone by"):
        reader.pass_over(1)
    assert reader.next_event() == BodyReceived(b"ab")
    assert reader.unfed == 8
    reader.pass_over(3)
    assert reader.next_event() is None
    reader.feed(b"cd")
    assert reader.next_event() == BodyReceived(b"cd")
    with pytest.raises(RuntimeError, match="4 bytes cannot have gone by"):
        reader.pass_over(4)
    assert not reader.ends_here()
    reader.pass_over(3)
    assert (reader.unfed, reader.ends_here(), reader.unfed) == (0, True, 0)
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert isinstance(reader.next_event(), ResponseHeadReceived)


def test_a_body_that_goes_by_may_be_cut():
    """The end of input in the middle of it is an incomplete message, told at once."""
    reader = RequestReader(LIMITS)
    reader.feed(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
    assert isinstance(reader.next_event(), RequestHeadReceived)
    reader.pass_over(9)
    with pytest.raises(IncompleteMessage):
        reader.feed_eof()
    assert reader.unfed == 0


def test_a_body_until_close_goes_by():
    """Any amount of it, until the end of input."""
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    assert isinstance(reader.next_event(), ResponseHeadReceived)
    reader.pass_over(1 << 40)
    assert reader.unfed > 1 << 60
    reader.feed_eof()
    assert isinstance(reader.next_event(), MessageComplete)


def test_chunks_do_not_go_by():
    """Somebody has to read them."""
    reader = RequestReader(LIMITS)
    reader.feed(CHUNKED[: CHUNKED.index(b"5;")])
    assert isinstance(reader.next_event(), RequestHeadReceived)
    assert reader.next_event() is None
    assert reader.unfed == 0
