"""Each feature is one operation: nothing is claimed twice or left out, and few files outside know a feature."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse

from backups import apps as backups_app
from backups.drills.operation import OPERATION as DRILLS
from kvops import apps as kvops_app, checks
from kvops.models import ApprovalRequest, NotificationEvent, Run
from kvops.operations import registry
from kvops.operations.parts import FeatureOperation, NoticeReason, Question

ROOT = Path(__file__).parents[3]
OUTSIDE = {
    "drills": (r"drills?(?![a-z])|Drill|DRILL", 10),
    "comparisons": (r"backups\.comparisons|\bComparison\b|backups:comparison|Kind\.COMPARISON", 10),
    "investigations": (r"investigations?(?![a-z])|Investigation|INVESTIGATION", 22),
}
"""Package -> the words by which a file knows it, and how many files of the product outside it do."""


def test_every_kind_and_every_question_has_its_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.missing() == []
    assert checks.every_kind_has_its_feature() == []
    monkeypatch.delitem(registry.RUNS, Run.Kind.DRILL)
    monkeypatch.delitem(registry.REQUESTS, ApprovalRequest.Kind.DRILL)
    monkeypatch.delitem(registry.NOTICES, NotificationEvent.DRILL_FAILED)
    monkeypatch.delitem(registry.ANSWERS, Question.NO_SECRET)
    assert len(checks.every_kind_has_its_feature()) == 4


@pytest.mark.parametrize("part", ["subjects", "requests", "runs", "jobs", "notices", "begins", "figures"])
def test_no_two_features_claim_the_same(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    same = SimpleNamespace(OPERATION=FeatureOperation(**{part: getattr(DRILLS, part)}))
    monkeypatch.setattr(registry, "import_module", lambda _name: same)
    with pytest.raises(ImproperlyConfigured, match="Two features have"):
        registry.collect(["another.feature"])


def test_what_follows_a_run_is_asked_in_the_order_of_the_features() -> None:
    packages = [*kvops_app.OPERATIONS, *backups_app.OPERATIONS]
    for kind, run in registry.RUNS.items():
        places = [packages.index(".".join(hook.__module__.split(".")[:2])) for hook in run.finished]
        assert places == sorted(places), kind
    assert [len(registry.RUNS[kind].finished) for kind in (Run.Kind.BACKUP, Run.Kind.VERIFY, Run.Kind.DRILL)] == [
        4,
        3,
        0,
    ]


def test_every_page_that_a_feature_names_is_there() -> None:
    pages = [one.page for one in registry.SUBJECTS.values()]
    pages += [one.page.name for one in registry.REQUESTS.values() if one.page and not one.page.for_all]
    for page in filter(None, pages):
        assert reverse(page, args=[1])


def test_an_operation_begins_with_an_action_about_a_subject_that_a_feature_names() -> None:
    assert set(registry.BEGINS.values()) <= registry.SUBJECTS.keys()
    assert {"cleanup", "restore", "drill", "clearing", "prune"} <= registry.PROCEDURES.keys() & {
        *registry.BEGINS.values()
    }


def test_each_reason_of_a_notice_is_used() -> None:
    assert {notice.reason for notice in registry.NOTICES.values()} == set(NoticeReason)


def _knowing(package: str, words: str) -> Iterator[str]:
    for path in (path for app in ("audit", "kvops", "backups") for path in (ROOT / app).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        outside = "/migrations/" not in name and not name.startswith(f"backups/{package}/")
        if outside and re.search(words, path.read_text("utf-8")):
            yield name


@pytest.mark.parametrize("package", OUTSIDE)
def test_no_more_files_know_a_feature_than_did(package: str) -> None:
    words, most = OUTSIDE[package]
    found = sorted(_knowing(package, words))
    assert len(found) <= most, found
