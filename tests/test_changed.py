"""`make test CHANGED=1` runs the tests near a change."""

import pytest

from tests import changed


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("kvops/schedules/views.py", "tests/kvops/schedules/test_pages.py"),
        ("templates/schedules/list.html", "tests/kvops/schedules/test_pages.py"),
        ("kvops/schedules/jobs.py", "tests/backups/generations/test_routine.py"),
        ("backups/deletion/run.py", "tests/gate/test_executing.py"),
        ("kvops/models/runs.py", "tests/test_constraints.py"),
        ("tests/kvops/web/test_chart.py", "tests/kvops/web/test_chart.py"),
        ("tests/browser/test_keys.py", "tests/browser/test_keys.py"),
        ("tests/searched.py", "tests/test_canaries.py"),
    ],
)
def test_a_change_has_the_tests_near_it(path: str, test: str) -> None:
    chosen = changed.tests_of([path])
    assert test in chosen
    assert len(chosen) < 30
    assert [one for one in chosen if one.startswith("tests/browser")] == ([path] if "browser" in path else [])


def test_a_document_has_none() -> None:
    assert changed.tests_of(["docs/policy.md", "CHANGELOG.md"]) == []
