"""Prints how many faults were tried, and how many were survived."""

import logging
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KILLS = {"tried": 0, "failed": 0}


@pytest.fixture(autouse=True)
def logging_stays():
    """`transcribe` silences libraries for its process, which here is all tests'."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def record_kills():
    """Note how many times a command was killed, and how often that was not survived."""

    def record(tried: int, failed: int) -> None:
        KILLS["tried"] += tried
        KILLS["failed"] += failed

    return record


def pytest_terminal_summary(terminalreporter):
    """Count the cases of this folder, whatever else was run."""
    found = {
        outcome: sum(
            str(HERE.relative_to(HERE.parents[1])) in report.nodeid
            for report in terminalreporter.stats.get(outcome, [])
            if getattr(report, "when", "call") == "call"
        )
        for outcome in ("passed", "failed")
    }
    total = sum(found.values())
    if total:
        terminalreporter.write_line(
            f"faults: {total} cases, {found['passed']} survived"
        )
    if KILLS["tried"]:
        terminalreporter.write_line(
            f"kills between two writes: {KILLS['tried']}, "
            f"{KILLS['tried'] - KILLS['failed']} survived"
        )
