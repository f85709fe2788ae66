"""Twelve projects in the shapes that Workers' code has, with answers that were worked out by hand first."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kvops.references.report import Report, dumps, loads
from kvops.references.search import Pattern, search_path

PROJECTS = Path(__file__).parent / "projects"
PATTERNS = [
    Pattern("SETTINGS", "system-root", True, "settings"),
    Pattern("SETTINGS", "master:", False, "legacy"),
    Pattern("SETTINGS", "mastercache:", False, "cache"),
    Pattern("SETTINGS", "clinic:", False, "legacy"),
    Pattern("SETTINGS", "clinic:id:", False, "legacy"),
    Pattern("SETTINGS", "clinic:summary:", False, "cache"),
    Pattern("CACHE", "session:", False, "cache"),
]
PRECISION = {
    "bundled": 1.0,
    "constants": 1.0,
    "durable-object": 1.0,
    "generated": 1.0,
    "hono": 1.0,
    "itty-router": 1.0,
    "minified": 1.0,
    "module-worker": 1.0,
    "monorepo": 1.0,
    "pages-functions": 1.0,
    "service-worker": 1.0,
    "wrapper": 0.92,
}
"""The share of the hits that the answers name, per project. Every answer is found in each."""

type Answer = tuple[str, int, str, str, str]


def searched(project: str) -> Report:
    return search_path(PROJECTS / project / "files", PATTERNS, commit="0" * 40, at=datetime(2026, 11, 28, tzinfo=UTC))


def answers(project: str) -> set[Answer]:
    listed = json.loads((PROJECTS / project / "answers.json").read_text())
    return {(one["file"], one["line"], one["certainty"], one["access"], one["family"]) for one in listed}


def hits(report: Report) -> set[Answer]:
    return {(hit.file, hit.line, hit.certainty, hit.access, hit.family) for hit in report.hits}


def test_every_project_is_measured() -> None:
    assert sorted(PRECISION) == sorted(folder.name for folder in PROJECTS.iterdir())
    assert len(PRECISION) == 12


@pytest.mark.parametrize("project", sorted(PRECISION))
def test_every_answer_of_a_project_is_found(project: str) -> None:
    report = searched(project)
    assert answers(project) - hits(report) == set()
    assert report.unparsed == ()
    assert loads(dumps(report)) == report


@pytest.mark.parametrize("project", sorted(PRECISION))
def test_the_precision_of_a_project_is_the_one_that_is_published(project: str) -> None:
    found = hits(searched(project))
    precision = len(found & answers(project)) / len(found)
    assert round(precision, 2) == PRECISION[project], sorted(found - answers(project))
