"""The cap on connections follows the descriptors there are."""

import resource
import subprocess
import sys
from dataclasses import replace

import pytest

from netfw.service.descriptors import RESERVE, connections_for, fitted
from netfw.testing.conversation import settings

# In a process of its own: what was lowered once cannot be raised again.
PROGRAM = """
import resource, sys
from netfw.service.descriptors import fitted
from netfw.testing.conversation import settings
from twisted.logger import globalLogBeginner, eventAsText
globalLogBeginner.beginLoggingTo([lambda event: print(eventAsText(event))], redirectStandardIO=False)
soft, hard, connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    limits = fitted(settings(limits={"connections": connections})).limits
except Exception as problem:
    print(type(problem).__name__, problem)
else:
    print(limits.connections, limits.idle_upstream_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def fit(soft: int, hard: int, connections: int = 10_000) -> list[str]:
    """What is printed: the log, then the outcome."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(connections)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip().splitlines()


def test_too_few_descriptors():
    """Fewer connections than were asked for, said once, in words that name the remedy."""
    log, outcome = fit(1024, 1024)
    assert outcome == f"{connections_for(1024, 128)} 128 1024"
    assert "limits.connections is 352 and not 10000" in log
    assert "LimitNOFILE" in log


def test_the_soft_limit_is_raised():
    """As far as is needed; nothing is said when that is enough."""
    assert fit(256, 20_000, 1000) == [f"1000 512 {2 * 1000 + RESERVE + 512}"]


def test_twenty_thousand():
    """Nine thousand tunnels fit, and some more."""
    _, outcome = fit(1024, 20_000)
    assert outcome == "9648 512 20000"


def test_next_to_none():
    """A start that could serve nobody is refused."""
    (outcome,) = fit(200, 200)
    assert outcome.startswith("TooFewDescriptors this process may open 200 descriptors")


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096, reason="this shell has too few")
def test_enough():
    """Nothing is changed."""
    configuration = settings(limits={"connections": 100})
    assert fitted(configuration) is configuration
    assert fitted(replace(configuration)) == configuration
