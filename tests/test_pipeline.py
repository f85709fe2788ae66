"""docs/references-ci.yml runs as it is, in a shell that knows nothing of KVOps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STEPS = yaml.safe_load((ROOT / "docs/references-ci.yml").read_text("utf-8"))["jobs"]["references"]["steps"]
RUN = {step["name"]: step["run"] for step in STEPS if "run" in step}
POLICY = '[[family]]\nbinding = "SETTINGS"\npattern = "master:"\ncategory = "legacy"\n'
READS, DELETES = 'env.SETTINGS.get("master:1");\n', 'env.SETTINGS.delete("master:1");\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """What the first steps leave: the team's code with its policy, and KVOps."""
    (tmp_path / "kvops").symlink_to(ROOT)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/policy.toml").write_text(POLICY)
    (tmp_path / "code/a.js").write_text(READS)
    return tmp_path


def played(step: str, workspace: Path, **team: str) -> subprocess.CompletedProcess[str]:
    """A step with nothing in its environment but what GitHub itself and the team put there."""
    github = {"GITHUB_SHA": "a" * 40, "GITHUB_REPOSITORY": "team/code"}
    environ = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **github, **team}
    command = ["sh", "-e", "-c", RUN[step]]
    return subprocess.run(command, cwd=workspace, env=environ, check=False, capture_output=True, text=True)


def test_the_steps_install_what_is_locked_then_lint_and_search() -> None:
    assert list(RUN) == ["Install", "Lint", "Search"]
    assert RUN["Install"].removeprefix("pip install --require-hashes -r kvops/") == "requirements.txt"


def test_code_that_keeps_the_policy_passes_and_its_hits_are_written(workspace: Path) -> None:
    lint, search = played("Lint", workspace), played("Search", workspace)
    assert (lint.returncode, search.returncode) == (0, 0), lint.stderr + search.stderr
    hits = json.loads((workspace / "hits.json").read_text())
    assert (hits["commit"], hits["repository"], hits["files"]) == ("a" * 40, "team/code", 2)
    assert {(hit["file"], hit["access"]) for hit in hits["hits"]} >= {("a.js", "read")}
    assert "in 2 files" in search.stdout


@pytest.mark.parametrize(
    "team",
    [
        {"DATABASE_URL": "mysql://team@db/app", "SECRET_KEY": "short", "SMTP_TLS": "true"},
        {"DATABASE_URL_FILE": "/nowhere", "SECRET_KEY_FILE": "/nowhere", "SMTP_PASSWORD_FILE": "/nowhere"},
    ],
)
def test_settings_of_the_team_with_the_same_names_change_nothing(workspace: Path, team: dict[str, str]) -> None:
    lint, search = played("Lint", workspace, **team), played("Search", workspace, **team)
    assert (lint.returncode, search.returncode) == (0, 0), lint.stderr + search.stderr
    assert json.loads((workspace / "hits.json").read_text())["files"] == 2


def test_a_delete_of_a_legacy_key_ends_the_pipeline(workspace: Path) -> None:
    (workspace / "code/a.js").write_text(READS + DELETES)
    done = played("Lint", workspace)
    assert done.returncode == 1
    assert done.stdout == "a.js:2: deletes SETTINGS master:*, which is legacy.\n"


def test_a_search_without_a_policy_and_a_database_says_what_is_missing(workspace: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "manage.py"),
        "scan_references",
        "qa",
        "--path",
        "code",
        "--output",
        "hits.json",
    ]
    done = subprocess.run(command, cwd=workspace, env={}, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        "scan_references --output takes --policy FILE where no DATABASE_URL is set.\n",
    )
