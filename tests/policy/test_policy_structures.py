"""The parts under the indexes, each against the plain way to do it: patterns, normal forms, tables, slices."""

import re
from ipaddress import ip_network
from time import process_time

import pytest
from exchanges import condition, document, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from netfw.policy import glob_index, globs
from netfw.policy.compile import compile_in_slices, compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.glob_index import GlobIndex
from netfw.policy.globs import glob_matcher
from netfw.policy.load import load_policy
from netfw.policy.lookup_tables import HeadTable, NetworkTable
from netfw.policy.model import Phase
from netfw.policy.paths import normal_path, normal_query

PATTERNS = st.text("ab./*?", max_size=9)
TEXTS = st.text("ab./\n", max_size=12)


def expression(pattern):
    text = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern)
    return re.compile(text, re.DOTALL)


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(PATTERNS, TEXTS)
def test_patterns(pattern, text):
    """A pattern matches what the regular expression says, as text and as bytes."""
    expected = expression(pattern).fullmatch(text) is not None
    for longest in (globs._LONG, 0):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(globs, "_LONG", longest)
            assert glob_matcher(pattern)(text) is expected
            assert glob_matcher(pattern.encode())(text.encode()) is expected


@pytest.mark.parametrize("pattern", ["*a" * 200 + "b", "*a?" * 150 + "b", "a" * 500 + "*b", "*" * 900 + "b"])
def test_no_pattern_is_exponential(pattern):
    """Patterns that take a naive matcher for ever take this one no noticeable time on a 60 KB text."""
    start = process_time()
    assert not glob_matcher(pattern.encode())(b"a" * 60_000)
    assert process_time() - start < 5  # exponential would be for ever


@pytest.mark.parametrize("pattern", ["?" * 2**20, "a?" * 2**19, "*" + "?" * 2**20 + "b", "?*" * 2**19])
def test_a_pattern_of_a_mebibyte_is_ready_at_once(pattern):
    """Nothing is made of it before a text comes that is long enough; then it says what a shorter one would."""
    start = process_time()
    matches = glob_matcher(pattern.encode())
    assert not matches(b"a" * 1000)
    assert process_time() - start < 1


@pytest.mark.parametrize("eager", [False, True], ids=["as shipped", "by octets"])
def test_index_of_patterns(eager, monkeypatch):
    """An index finds exactly the patterns that match, whatever it hangs them up by."""
    if eager:
        monkeypatch.setattr(glob_index, "_FEW_BY_OCTETS", 0)
        monkeypatch.setattr(glob_index, "_FEW_OTHERS", -1)
        monkeypatch.setattr(glob_index, "_TOLERABLE", -1)

    @settings(max_examples=2 * settings.default.max_examples, deadline=None)
    @given(st.lists(PATTERNS, max_size=12), TEXTS)
    def finds(patterns, text):
        for encode in (str, str.encode):
            index = GlobIndex()
            for position, pattern in enumerate(patterns):
                index.add(encode(pattern), position)
            for _ in index.finish():
                pass
            found = []
            index.find(encode(text), found)
            expected = {place for place, one in enumerate(patterns) if expression(one).fullmatch(text)}
            assert {position for positions in found for position in positions} == expected

    finds()


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(st.sets(st.binary(max_size=5), max_size=20), st.binary(max_size=7))
def test_table_of_heads(heads, text):
    """Every head of the text is found, and nothing else."""
    table = HeadTable()
    for head in heads:
        table.setdefault(head, head)
    for _ in table.finish():
        pass
    assert sorted(table.find(text)) == sorted(head for head in heads if text.startswith(head))


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=20),
    st.integers(0, 255),
)
def test_table_of_networks(networks, number):
    """Every network that holds the address is found, and nothing else, however they nest."""
    table = NetworkTable()
    made = [ip_network((0x0A000000 + first, length), strict=False) for first, length in networks]
    for position, network in enumerate(made):
        table.add(int(network[0]), int(network[-1]), position)
    for _ in table.finish():
        pass
    found = []
    address = 0x0A000000 + number
    table.find(address, found)
    expected = {place for place, network in enumerate(made) if int(network[0]) <= address <= int(network[-1])}
    assert {position for positions in found for position in positions} == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", b"/"),
        (b"", b""),
        (b"*", b"*"),
        (b"/a/b/c/./../../g", b"/a/g"),
        (b"/a/..", b"/"),
        (b"/a/.", b"/a/"),
        (b"/..", b"/"),
        (b"/...", b"/..."),
        (b"/.a/..b", b"/.a/..b"),
        (b"/a//../b", b"/a/b"),
        (b"/%7euser/%41%2f%2F%zz%4", b"/~user/A%2F%2F%zz%4"),
        (b"/%2e%2e/x", b"/x"),
        (b"/a%252e", b"/a%252e"),
        (b"/caf\xc3\xa9/%c3%a9", b"/caf\xc3\xa9/%C3%A9"),
    ],
)
def test_normal_paths(path, expected):
    """Dot segments and escapes as RFC 3986 has them; what is not an escape stays."""
    assert normal_path(path) == expected
    assert normal_path(expected) == expected


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(st.lists(st.sampled_from([b"/", b".", b"..", b"a", b"%2e", b"%41", b"%2F", b"%25"]), max_size=12))
def test_normal_form_is_stable(parts):
    """The normal form of a normal form is itself, where every percent sign begins an escape."""
    path = b"/" + b"".join(parts)
    assert normal_path(normal_path(path)) == normal_path(path)
    assert normal_query(normal_query(path)) == normal_query(path)


def test_compiling_in_slices():
    """Work is cut up, also inside one large condition, and the result is that of compiling at once."""
    many = [f"host{number}.example.com" for number in range(5000)]
    raw = document(
        pre_dns=[
            rule("list", "DENY", condition("request:DestinationDomain", "StringEquals", *many)),
            *(
                rule(f"r{number}", "ALLOW", condition("request:DestinationDomain", "StringLike", f"*.{number}.example"))
                for number in range(2000)
            ),
        ]
    )
    configuration = load_policy(raw, "test")
    slices = compile_in_slices(configuration, 7, 0.0)
    steps = 0
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            compiled = stop.value
            break
        steps += 1
    assert steps > 20
    assert (compiled.generation, compiled.configuration) == (7, configuration)
    assert compiled.needs(Phase.PRE_DNS) == {"request:DestinationDomain"}
    from exchanges import connect

    at_once = compile_policy(configuration, 7, 0.0)
    for host, expected in (
        ("host4999.example.com", "g/list"),
        ("x.1999.example", "g/r1999"),
        ("x.2000.example", "default"),
    ):
        for one in (compiled, at_once):
            assert str(evaluate(one, Phase.PRE_DNS, connect(host)).rule) == expected
