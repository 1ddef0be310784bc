"""The compiled policy, the plain reference and explain say the same about every policy and all facts."""

from hypothesis import given, settings
from policies import facts, policies
from reference import reference_evaluate

from netfw.policy.compile import compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.explain import explain


@settings(max_examples=400, deadline=None)
@given(policies(), facts())
def test_compiled_agrees_with_reference(policy, known):
    """Indexes change nothing: decision, matches and openness are those of trying every rule in order."""
    configuration, phase = policy
    expected = reference_evaluate(configuration, phase, known)
    assert evaluate(compile_policy(configuration, 1, 0.0), phase, known) == expected
    assert explain(configuration, phase, known).result == expected
