"""The compiled policy, the plain reference and explain say the same about every policy and all facts."""

import pytest
from hypothesis import HealthCheck, given, settings
from policies import facts, policies
from reference import reference_evaluate

from netfw.policy import compile as compiling
from netfw.policy import glob_index
from netfw.policy.evaluate import evaluate
from netfw.policy.explain import explain


@pytest.mark.parametrize("eager", [False, True], ids=["as shipped", "every index"])
def test_compiled_agrees_with_reference(eager, monkeypatch):
    """Indexes change nothing: decision, matches and openness are those of trying every rule in order."""
    if eager:
        monkeypatch.setattr(compiling, "_FEW_VALUES", 1)
        monkeypatch.setattr(glob_index, "_FEW_BY_OCTETS", 0)
        monkeypatch.setattr(glob_index, "_FEW_OTHERS", -1)
        monkeypatch.setattr(glob_index, "_TOLERABLE", -1)

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(policies(), facts())
    def agree(policy, known):
        configuration, phase = policy
        expected = reference_evaluate(configuration, phase, known)
        assert evaluate(compiling.compile_policy(configuration, 1, 0.0), phase, known) == expected
        assert explain(configuration, phase, known).result == expected

    agree()
