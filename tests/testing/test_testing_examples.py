"""Reading examples out of a page, and telling whether what was printed is what is shown."""

from __future__ import annotations

import pytest

from netfw.testing.examples import Clone, Command, ExampleError, Terminal, WrittenFile, matches, run, sections

PAGE = """# A page

```yaml title="etc/a.yaml"
a: 1
```

Nothing happens to this:

```yaml
b: 2
```

  ```console
  $ cat etc/a.yaml
  a: 1
  $ echo one \\
      two
  one two
  $ true
  ```

<!-- examples: new directory -->

```console
$ ls
```
"""


def test_a_page_is_files_and_commands_by_directory() -> None:
    assert sections(PAGE) == [
        [
            WrittenFile(3, "etc/a.yaml", "a: 1\n"),
            Command(14, "cat etc/a.yaml", ["a: 1"]),
            Command(16, "echo one \\\n    two", ["one two"]),
            Command(19, "true"),
        ],
        [Command(25, "ls")],
    ]


def test_a_clone_is_a_directory_of_its_own() -> None:
    there = "```console\n$ ls etc/proxy.yaml\netc/proxy.yaml\n```\n"
    found = sections(f"```console\n$ ls\n```\n<!-- examples: in a clone -->\n{there}")
    assert found == [[Command(2, "ls")], [Clone(4), Command(6, "ls etc/proxy.yaml", ["etc/proxy.yaml"])]]
    run(found[1])
    assert sections("<!-- examples: beside a running proxy -->\n") == [[Clone(1, running=True)]]


def test_output_before_any_command_is_a_mistake() -> None:
    with pytest.raises(ExampleError, match="line 2: a terminal that begins with output: 'a: 1'"):
        sections("```console\na: 1\n```\n")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a"], ["a"], True),
        (["a"], ["a  "], True),
        (["a"], ["a", "b"], False),
        (["a"], [], False),
        (["a", "…"], ["a"], True),
        (["a", "…"], ["a", "b", "c"], True),
        (["…", "c"], ["a", "b", "c"], True),
        (["…", "c"], ["c", "d"], False),
        (["id … (x)"], ["id 77 (x)"], True),
        (["id … (x)"], ["id 77 [x]"], False),
        (["a…"], ["a", "b"], False),
    ],
)
def test_what_is_printed_as_shown(shown: list[str], printed: list[str], same: bool) -> None:
    assert matches(shown, printed) is same


def test_the_page_above_holds() -> None:
    for steps in sections(PAGE):
        run(steps)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([Command(7, "false")], "line 7: \\$ false\nfailed with 1"),
        ([Command(7, "false", ["…"])], "line 7: \\$ false\nfailed with 1"),
        ([Command(8, "echo a", ["b"])], "line 8: \\$ echo a\nis to print:\nb\nbut printed:\na"),
        ([Command(9, "exit 3")], "line 9: \\$ exit 3\nthe shell ended"),
    ],
)
def test_what_is_not_so_is_told_with_its_line(steps: list[Command], said: str) -> None:
    with pytest.raises(ExampleError, match=said):
        run(list(steps))


def test_one_shell_for_a_directory(tmp_path: object) -> None:
    """Variables, functions and background jobs last from one command to the next."""
    run([
        Command(1, "cd / && x=5 && sleep 60 &"), Command(2, "x=6; cd /"), Command(3, "echo $x $PWD", ["6 /"]),
        Command(4, "cat", []), Command(5, "jobs | wc -l", ["1"]),
    ])  # fmt: skip


def test_a_shell_that_is_closed_leaves_nothing(tmp_path: object) -> None:
    from pathlib import Path

    terminal = Terminal(Path(str(tmp_path)))
    _, printed = terminal.type("sleep 300 & echo $!")
    terminal.close()
    assert not Path(f"/proc/{printed[-1]}/stat").exists() or "Z" in Path(f"/proc/{printed[-1]}/stat").read_text()
