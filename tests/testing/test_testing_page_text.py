"""A page taken apart: nothing of it is in no part, and what is no fence of ours is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.testing.page_text import Block, PageError, blocks, indented_code, inline_code, parts, sentences

PAGE = """# A page

Words with `a code` and ``a ` tick``, and `one that
goes on`.

```yaml title="etc/a.yaml"
a: 1   # `not this`
```

* an item

  ```sh
  ls
    -l
  ```

| `x \\| y` |
"""


def test_blocks_have_class_title_and_text_without_the_indent() -> None:
    assert blocks(PAGE) == [
        Block(6, "yaml", "etc/a.yaml", ("a: 1   # `not this`",)),
        Block(12, "sh", None, ("ls", "  -l")),
    ]
    assert blocks(PAGE)[1].text == "ls\n  -l\n"


def test_code_in_sentences_has_its_line() -> None:
    assert inline_code(PAGE) == [(3, "a code"), (3, "a ` tick"), (3, "one that goes on"), (17, "x | y")]


@pytest.mark.parametrize("page", ["~~~yaml\na\n~~~\n", "```yaml lines\na\n```\n", "````\na\n````\n", "```sh\nls\n"])
def test_a_fence_that_no_test_would_see_is_refused(page: str) -> None:
    with pytest.raises(PageError, match="line 1"):
        blocks(page)


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("Words\n\n    code\n    more\n\nwords\n", [3, 4]),
        ("Words\n    that go on\n", []),
        ("* item\n\n    its second paragraph\n", []),
        ("* item\n\n        code in it\n", [3]),
        ("* item\n\nWords\n\n    code\n", [5]),
        ("```sh\n\n    ls\n```\n", []),
    ],
)
def test_code_without_a_fence_is_found(page: str, lines: list[int]) -> None:
    assert indented_code(page) == lines


@given(st.lists(st.sampled_from(["", "text", "    code", "* item", "```sh", "```", "`x`"])))
def test_every_line_is_in_one_part(lines: list[str]) -> None:
    page = "\n".join(lines)
    try:
        found = list(parts(page))
    except PageError:
        return
    counted = sum(len(part.lines) + 2 if isinstance(part, Block) else 1 for part in found)
    assert counted == len(page.splitlines())
    assert [part for part in found if not isinstance(part, Block)] == sentences(page)
