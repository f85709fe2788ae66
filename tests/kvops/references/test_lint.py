"""The policy in a team's CI: no unknown prefix, no write or delete of a legacy family; without Django."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from kvops.references.lint import main

POLICY = """
[[family]]
binding = "SETTINGS"
pattern = "master:"
category = "legacy"
[[family]]
binding = "SETTINGS"
pattern = "mastercache:"
category = "cache"
"""
GOOD = 'env.SETTINGS.put("mastercache:1", ""); env.SETTINGS.get("master:1"); env.SETTINGS.get(key);\n'


def project(tmp_path: Path, code: str, policy: str = POLICY) -> list[str]:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/a.js").write_text(code)
    (tmp_path / "repo/wrangler.toml").write_text('[[kv_namespaces]]\nbinding = "OTHER"\nid = "1"\n')
    (tmp_path / "policy.toml").write_text(policy)
    return ["lint", "--path", str(tmp_path / "repo"), "--policy", str(tmp_path / "policy.toml")]


def test_code_that_keeps_the_policy_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(project(tmp_path, GOOD)) == 0
    assert capsys.readouterr().out == ""


def test_a_write_of_a_legacy_family_and_an_unknown_prefix_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        GOOD + 'env.SETTINGS.put("master:" + id, "");\nenv.SETTINGS.get("new:1");\nenv.OTHER.list({ prefix: "x:" });\n'
    )
    assert main(project(tmp_path, code)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a.js:2: writes SETTINGS master:*, which is legacy.",
        "a.js:3: reads SETTINGS new:1, which no family knows.",
        "a.js:4: lists OTHER x:, which no family knows.",
    ]


def test_a_delete_of_a_legacy_key_fails_also_if_it_is_only_possible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = 'env.SETTINGS.delete("master:1");\nenv.SETTINGS.delete("mastercache:1");\nenv.SETTINGS.delete(`m${rest}`);\n'
    assert main(project(tmp_path, code)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a.js:1: deletes SETTINGS master:*, which is legacy.",
        "a.js:3: can delete SETTINGS master:*, which is legacy.",
    ]


@pytest.mark.parametrize("policy", ["", "[[family]]\n", "not toml", '[[family]]\nbinding = "A"\npattern = 1'])
def test_a_policy_that_cannot_be_read_is_bad_usage(tmp_path: Path, policy: str) -> None:
    assert main(project(tmp_path, GOOD, policy)) == 2


def test_it_runs_without_django_and_without_settings(tmp_path: Path) -> None:
    arguments = project(tmp_path, 'env.SETTINGS.put("master:1", "")')
    code = f"""import sys
from kvops.references.lint import main
status = main({arguments!r})
assert "django" not in sys.modules
sys.exit(status)"""
    run = subprocess.run([sys.executable, "-c", code], check=False, env={}, cwd=Path(__file__).parents[3])
    assert run.returncode == 1
    arguments = [sys.executable, "-m", "kvops.references", "lint", "--path", "absent"]
    assert subprocess.run(arguments, check=False, capture_output=True, cwd=Path(__file__).parents[3]).returncode == 2


def test_the_command_of_manage_says_the_same(tmp_path: Path) -> None:
    _, _, path, _, policy = project(tmp_path, 'env.SETTINGS.put("master:1", "")')
    with pytest.raises(CommandError, match="breaks the policy") as refused:
        call_command("lint_references", path=Path(path), policy=Path(policy))
    assert refused.value.returncode == 1
    with pytest.raises(CommandError, match="cannot be opened") as refused:
        call_command("lint_references", path=Path(path) / "absent", policy=Path(policy))
    assert refused.value.returncode == 2
