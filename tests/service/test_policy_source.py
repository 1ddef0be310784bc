"""The policy in force: swapped whole, or not at all."""

from __future__ import annotations

import yaml
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from netfw.config.policy_files import read_policy
from netfw.interfaces import IPolicySource
from netfw.policy.model import Action, Phase
from netfw.service.policy_source import FilePolicySource, ReloadResult
from netfw.testing.proxy_process import policy


def source(configuration, reactor, now=lambda: 7.0) -> FilePolicySource:
    section = configuration.policy
    return FilePolicySource(section, read_policy(section), reactor, now)


def default_of(policies: FilePolicySource) -> Action:
    return policies.current.configuration.defaults[Phase.PRE_DNS]


def write(tmp_path, document) -> None:
    text = document if isinstance(document, str) else yaml.safe_dump(document)
    (tmp_path / "policy.yaml").write_text(text)


def test_the_first(configured):
    """Generation 1, from what the start was checked with; no thread is asked."""
    policies = source(configured(), None)
    verifyObject(IPolicySource, policies)
    assert policies.current.generation == 1
    assert policies.loaded_at == 7.0


def test_a_good_one(run, configured, tmp_path):
    """It is in force when the Deferred fires, as the next generation; the former object is as it was."""

    async def scenario(reactor):
        times = iter((1.0, 2.0, 3.0, 4.0))
        policies = source(configured(), reactor, lambda: next(times))
        former = policies.current
        write(tmp_path, policy(pre_dns="DENY"))
        result = await policies.reload()
        assert result == ReloadResult(True, 2)
        assert result.as_dict() == {"ok": True, "generation": 2, "problems": []}
        assert default_of(policies) is Action.DENY
        assert former.generation == 1
        assert former.configuration.defaults[Phase.PRE_DNS] is Action.ALLOW
        assert policies.loaded_at == 3.0

    run(scenario)


def test_bad_ones(run, configured, tmp_path):
    """Whatever is wrong with a file, the old policy stays, and the result says what is wrong."""

    async def scenario(reactor):
        policies = source(configured(policy(pre_dns="DENY")), reactor)
        former = policies.current
        bad = policy()
        bad["ProxyConfiguration"]["DefaultRulePhaseActions"]["PreDNS"] = "MAYBE"
        for document in (bad, {}, "", "a: [", "\x00", "- 1"):
            write(tmp_path, document)
            result = await policies.reload()
            assert (result.ok, result.generation) == (False, 1)
            assert result.problems
            assert policies.current is former
        (tmp_path / "policy.yaml").unlink()
        result = await policies.reload()
        assert not result.ok
        assert "policy.yaml" in result.problems[0]
        write(tmp_path, policy())
        assert await policies.reload() == ReloadResult(True, 2)

    run(scenario)


def test_an_error_of_ours_keeps_the_old_one(run, configured, monkeypatch):
    """What nobody thought of is a problem like any other."""

    async def scenario(reactor):
        policies = source(configured(), reactor)
        monkeypatch.setattr("netfw.service.policy_reading.compile_in_slices", lambda *_: 1 / 0)
        result = await policies.reload()
        assert not result.ok
        assert "ZeroDivisionError" in result.problems[0]
        assert policies.current.generation == 1

    run(scenario)


def test_several_at_once(run, configured, tmp_path):
    """Each sees what the file said when it was asked for, or later; none is lost, generations only grow."""

    async def scenario(reactor):
        policies = source(configured(), reactor)
        first = policies.reload()
        write(tmp_path, policy(pre_dns="DENY"))
        others = [policies.reload() for _ in range(3)]
        results = await gatherResults([first, *others])
        assert all(result.ok for result in results)
        generations = [result.generation for result in results]
        assert generations == sorted(generations)
        assert default_of(policies) is Action.DENY
        assert generations[1] > generations[0]
        assert policies.current.generation == generations[-1]

    run(scenario)


def test_a_bad_one_among_several(run, configured, tmp_path):
    """The refusal of one does not stop the next."""

    async def scenario(reactor):
        policies = source(configured(), reactor)
        write(tmp_path, "nonsense")
        first = policies.reload()
        result = await first
        write(tmp_path, policy(pre_dns="DENY"))
        assert not result.ok
        assert (await policies.reload()).ok
        assert default_of(policies) is Action.DENY

    run(scenario)
