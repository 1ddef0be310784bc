"""What holds for every test run: property tests without a stop-watch, and an account of what was skipped.

With NETFW_EXHAUSTIVE=1 (`make soak`) property tests try twenty times as many examples, with HYPOTHESIS_PROFILE=quick a
fifth; those that ask for a number of their own say how many times the usual one.

With NETFW_NO_SKIPS=1 a skipped test fails the run: the gate installs every program that tests ask for, so that a skip
there means a test that silently stopped testing.
"""

from __future__ import annotations

import gc
import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# The machine may be busy: how long one example takes says nothing about the code.
settings.register_profile("netfw", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", parent=settings.get_profile("netfw"), max_examples=20)
settings.register_profile("thorough", parent=settings.get_profile("netfw"), max_examples=2000)
EXHAUSTIVE = os.environ.get("NETFW_EXHAUSTIVE", "") not in ("", "0")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "thorough" if EXHAUSTIVE else "netfw"))

STRICT = os.environ.get("NETFW_NO_SKIPS", "") not in ("", "0")


# The files that take longest, longest first: each goes to one process as a whole (`--dist loadfile`), and one that
# began last would be waited for alone.
LONGEST = (
    "docs/test_docs_pages.py",
    "integration/test_workers.py",
    "integration/test_authentication.py",
    "integration/test_clients.py",
    "integration/test_reload_settings.py",
    "integration/test_reload_large.py",
    "integration/test_soak.py",
    "integration/test_phases.py",
    "integration/test_endings.py",
    "integration/test_hand_over.py",
    "integration/test_denials.py",
    "integration/test_faults.py",
    "integration/test_limits.py",
    "integration/test_kit.py",
    "integration/test_ca.py",
    "store/test_concurrency.py",
    "fuzz/test_fuzz.py",
    "integration/test_smuggling.py",
    "cli/test_ca_lifecycle.py",
    "integration/test_manhole.py",
    "integration/test_watching.py",
    "integration/test_why.py",
    "integration/test_control_kills.py",
    "integration/test_sinks_aws.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Newer versions of xdist would begin with the files that have most tests, which are the quick ones."""
    if getattr(config.option, "loadscopereorder", False):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    places = {name: place for place, name in enumerate(LONGEST)}

    def place(item: pytest.Item) -> int:
        return places.get("/".join(item.path.parts[-2:]), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of every later collection of garbage.

    Hundreds of tests collect, so that a Deferred whose failure nobody took tells of it: with the heap of all modules
    and 11,000 tests to look through, that alone would take longer than most of these tests.
    """
    gc.collect()
    gc.freeze()


def _skips(config: pytest.Config) -> Counter[str]:
    """How often each reason was given."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reasons: Counter[str] = Counter()
    for report in reporter.stats.get("skipped", []) if reporter is not None else []:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    return reasons


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a strict run in which anything was skipped."""
    is_worker = hasattr(session.config, "workerinput")
    if STRICT and not is_worker and session.exitstatus == pytest.ExitCode.OK and _skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name every reason at the end, so that nobody takes a skipped test for a passed one."""
    reasons = _skips(config)
    if not reasons:
        return
    terminalreporter.section("not tested" + (": this run allows no skips, so it fails" if STRICT else ""))
    for reason, number in sorted(reasons.items()):
        terminalreporter.write_line(f"{number:4} {reason}")
