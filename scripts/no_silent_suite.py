"""A pytest plugin: the run fails if a file of tests was collected and none of its tests was carried out."""

from __future__ import annotations

from collections import Counter

import pytest

_planned: Counter[str] = Counter()
_carried_out: Counter[str] = Counter()


def pytest_collection_finish(session: pytest.Session) -> None:
    _planned.update(item.nodeid.partition("::")[0] for item in session.items)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and not report.skipped:
        _carried_out[report.nodeid.partition("::")[0]] += 1


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    silent = [name for name in _planned if not _carried_out[name]]
    if exitstatus == pytest.ExitCode.OK and silent and not session.config.option.collectonly:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for name in silent:
            print(f"\nerror: all tests of {name} were skipped")
