"""The policy as files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from netfw.config.errors import ConfigErrors
from netfw.config.model import PolicySection
from netfw.config.policy_files import read_condition_values, read_policy
from netfw.policy.model import Phase

CONFIGURATION = """\
ProxyConfiguration:
  ProxyConfigurationName: test
  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: DENY, PostRESPONSE: ALLOW}
  RuleGroups: [one, two]
"""
GROUP = """\
ProxyRuleGroups:
  - ProxyRuleGroupName: %s
    Rules:
      PreDNS:
        - ProxyRuleName: names
          Action: ALLOW
          Conditions:
            - ConditionKey: request:DestinationDomain
              ConditionOperator: StringEquals
              %s
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A policy of three files and one file of values."""
    (tmp_path / "00-configuration.yml").write_text(CONFIGURATION)
    (tmp_path / "10-one.yaml").write_text(GROUP % ("one", "ConditionValues: [example.com]"))
    (tmp_path / "20-two.yaml").write_text(GROUP % ("two", "ConditionValuesFile: names.txt"))
    (tmp_path / "names.txt").write_text("# ours\nexample.org\r\n\n  example.net  \n  # theirs\n")
    (tmp_path / ".hidden.yaml").write_text("][")
    (tmp_path / "README.md").write_text("not a rule")
    return tmp_path


def read_directory(directory: Path) -> object:
    """As the configuration does it."""
    return read_policy(PolicySection(file=None, directory=directory))


def test_a_directory_is_one_policy(directory: Path) -> None:
    """Groups from all files; hidden and other files are left out."""
    policy = read_policy(PolicySection(file=None, directory=directory))
    assert [(group.name, rule.conditions[0].values) for group, rule in policy.rules(Phase.PRE_DNS)] == [
        ("one", ("example.com",)),
        ("two", ("example.org", "example.net")),
    ]


def test_a_file_is_one_policy(directory: Path) -> None:
    """Files of values are looked for beside it."""
    path = directory / "all.yaml"
    path.write_text(CONFIGURATION.replace("one, ", "") + GROUP % ("two", "ConditionValuesFile: names.txt"))
    policy = read_policy(PolicySection(file=path, directory=None))
    assert [rule.conditions[0].values for _, rule in policy.rules(Phase.PRE_DNS)] == [("example.org", "example.net")]


def test_problems_have_their_file_and_line(directory: Path) -> None:
    """Of every file at once."""
    (directory / "10-one.yaml").write_text(GROUP % ("one", "ConditionValues: 5"))
    (directory / "20-two.yaml").write_text(
        (GROUP % ("two", "ConditionValues: [example.org]")).replace("ALLOW", "PERMIT")
    )
    with pytest.raises(ConfigErrors) as caught:
        read_directory(directory)
    assert [(Path(problem.source).name, problem.line) for problem in caught.value.problems] == [
        ("10-one.yaml", 10),
        ("20-two.yaml", 6),
    ]


def test_syntax_errors_of_all_files_are_told(directory: Path) -> None:
    """And nothing else, since half a policy has problems that the whole has not."""
    (directory / "10-one.yaml").write_text("a: ]")
    (directory / "30.json").write_text("{")
    with pytest.raises(ConfigErrors) as caught:
        read_directory(directory)
    assert [Path(problem.source).name for problem in caught.value.problems] == ["10-one.yaml", "30.json"]


@pytest.mark.parametrize("content", [None, "# nothing\n\n", "a\0b"])
def test_a_file_of_values_that_has_none_is_a_problem(directory: Path, content: str | None) -> None:
    """A rule without values would never match: not there, empty, not text."""
    (directory / "names.txt").unlink()
    if content is not None:
        (directory / "names.txt").write_text(content)
    with pytest.raises(ConfigErrors) as caught:
        read_directory(directory)
    (problem,) = caught.value.problems
    assert "ConditionValuesFile" in problem.path
    assert "names.txt" in problem.message


def test_values_keep_what_is_inside_them(tmp_path: Path) -> None:
    """Only a # at the beginning makes a comment: values of HTTP fields may hold one."""
    (tmp_path / "values").write_text("text/x #1\n#2\n")
    assert read_condition_values(tmp_path / "values") == ["text/x #1"]


@pytest.mark.parametrize("empty", [True, False])
def test_a_directory_without_rules_is_refused(tmp_path: Path, empty: bool) -> None:
    """Nothing that could be taken for "no rules, so all is allowed"."""
    directory = tmp_path if empty else tmp_path / "nowhere"
    with pytest.raises(ConfigErrors):
        read_directory(directory)


def test_writers_of_tests_see_the_same(write_config: Callable[..., Path]) -> None:
    """The policy that the other tests use is one."""
    path = write_config().with_name("policy.yaml")
    assert read_policy(PolicySection(file=path, directory=None)).name == "test"
