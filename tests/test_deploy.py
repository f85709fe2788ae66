"""The files of `deploy/`, the image and the composition are accepted by the programs that read them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backups.policy import Policy
from kvops import env
from kvops.environments.definition import EnvironmentDefinition, KVDefinition, read_environments
from kvops.environments.toml import load
from kvops.inventory.families import FamilyDefinition
from sandbox.start import GUNICORN

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
INSTALL = (ROOT / "docs" / "install.md").read_text("utf-8")
SERVICES = ("migrate", "web", "worker", "sweep")


def run(*command: str | Path) -> str:
    """What a program says about a file; it fails if the file is wrong."""
    environ = {**os.environ, "PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def gunicorn(folder: Path, *arguments: str) -> dict[str, str]:
    """The settings of a web server that is started in a folder, without the address that it listens on."""
    lines = (ROOT / ".ci" / "check.env").read_text("utf-8").splitlines()
    kept = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    environ = kept | dict(line.split("=", 1) for line in lines)
    command = (sys.executable, "-W", "ignore", "-m", "gunicorn", *arguments, "--print-config")
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    pairs = (line.split(" = ", 1) for line in done.stdout.splitlines() if " = " in line)
    return {name.strip(): value for name, value in pairs if name.strip() not in {"bind", "chdir", "proc_name"}}


def composition(folder: Path) -> dict[str, dict[str, Any]]:
    """docker-compose.yml as Compose understands it, with the sample of its settings, in a folder of its own."""
    (folder / "config").mkdir()
    shutil.copy(ROOT / "docker-compose.yml", folder)
    shutil.copy(DEPLOY / "compose.env", folder / "config" / "kvops.env")
    found = run("docker-compose", "--file", folder / "docker-compose.yml", "config", "--format", "json")
    return dict(json.loads(found))


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its words."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    for unit in DEPLOY.glob("*.service"):
        (tmp_path / unit.name).write_text(unit.read_text("utf-8").replace("/opt/kvops", str(tmp_path)))
    found = sorted(tmp_path.glob("*.service"))
    assert [unit.stem for unit in found] == ["kvops-sweep", "kvops-web", "kvops-worker"]
    assert run("systemd-analyze", "verify", "--man=no", *found) == ""


def test_caddy_accepts_its_file() -> None:
    assert "Valid configuration" in run("caddy", "validate", "--adapter=caddyfile", "--config", DEPLOY / "Caddyfile")


def test_nginx_accepts_its_file(tmp_path: Path) -> None:
    key, certificate = tmp_path / "kvops.key", tmp_path / "kvops.pem"
    made: list[str | Path] = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kvops", "-days", "2"]
    run("openssl", "req", "-x509", *made, "-keyout", key, "-out", certificate)
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    text = text.replace("/etc/ssl/certs/kvops.pem", str(certificate)).replace("/etc/ssl/private/kvops.key", str(key))
    (tmp_path / "kvops.conf").write_text(text)
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; include {tmp_path}/kvops.conf; }}"
    )
    assert "test is successful" in run("nginx", "-t", "-e", "stderr", "-c", whole)


def test_compose_accepts_its_file_and_every_service_is_confined(tmp_path: Path) -> None:
    services = composition(tmp_path)["services"]
    assert set(services) == {"postgres", *SERVICES}
    for name in SERVICES:
        found = services[name]
        assert (found["user"], found["read_only"], found["init"]) == ("10001:10001", True, True)
        assert found["cap_drop"] == ["ALL"]
        assert "healthcheck" in found or name == "migrate"
    assert services["worker"]["stop_grace_period"] == "4m40s"


def test_only_the_worker_gets_what_deletes_and_decrypts(tmp_path: Path) -> None:
    services = composition(tmp_path)["services"]
    given = {name: {one["source"] for one in services[name]["secrets"]} for name in SERVICES}
    dangerous = {"age_identity", "digest_key", "qa_write_token", "production_write_token"}
    assert {name for name in SERVICES if given[name] & dangerous} == {"worker"}
    assert {name for name in SERVICES if "review_identity" in given[name]} == {"web"}
    assert {name for name in SERVICES if "owner_database_url" in given[name]} == {"migrate"}


def test_the_composition_and_the_installation_name_the_same_files_that_may_be_empty() -> None:
    header = (ROOT / "docker-compose.yml").read_text("utf-8").partition("Leave it empty")[2].partition("Sentry")[0]
    page = (
        (ROOT / "docs/install.md").read_text("utf-8").partition("Leave a file empty")[2].partition("Without Slack")[0]
    )
    assert set(re.findall(r"[a-z]+_[a-z]+", header)) == set(re.findall(r"`([a-z]+_[a-z]+)`", page))


def test_no_dollar_means_anything_in_the_composition() -> None:
    lines = (ROOT / "docker-compose.yml").read_text("utf-8").splitlines()
    assert [line for line in lines if "$" in line and not line.startswith("#")] == []
    assert "$" not in (DEPLOY / "compose.env").read_text("utf-8")


def test_each_stage_of_the_image_has_a_base_with_its_whole_version() -> None:
    bases = [words.split()[0] for instruction, words in dockerfile() if instruction == "FROM"]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base) for base in bases)


def test_the_last_stage_installs_nothing_and_runs_as_a_number() -> None:
    last = dockerfile()
    last = last[max(place for place, (instruction, _words) in enumerate(last) if instruction == "FROM") :]
    assert [words for instruction, words in last if instruction == "USER"] == ["10001:10001"]
    assert all(word not in words for word in ("pip", "apt-get") for instruction, words in last if instruction == "RUN")
    assert all("--from=build" in words for instruction, words in last if instruction == "COPY")


def test_the_image_has_neither_tests_nor_tools() -> None:
    sent = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert sent[1] == "*"
    assert not {"!tests", "!bench", "!sandbox", "!docs"} & set(sent)
    copied = {
        words.split()[0] for instruction, words in dockerfile() if instruction == "COPY" and "--from" not in words
    }
    assert copied <= {name.removeprefix("!") for name in sent}
    assert all(
        "--require-hashes" in part for _, words in dockerfile() for part in re.findall(r"pip install[^&]*", words)
    )


def image(folder: Path) -> Path:
    """The files of the repository that the image has, as links in a folder."""
    for instruction, words in dockerfile():
        if instruction == "COPY" and "--from" not in words:
            for name in words.split()[:-1]:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).symlink_to(ROOT / name)
    return folder


def test_unit_image_and_sandbox_start_gunicorn_alike(tmp_path: Path) -> None:
    unit = re.findall(r"^ExecStart=\S+/gunicorn (.+)$", (DEPLOY / "kvops-web.service").read_text("utf-8"), re.MULTILINE)
    command = json.loads([words for instruction, words in dockerfile() if instruction == "CMD"][-1])
    starts = (ROOT, unit[0].split()), (image(tmp_path), command[1:]), (ROOT, [*GUNICORN[2:], "127.0.0.1:0"])
    found = [gunicorn(folder, *arguments) for folder, arguments in starts]
    assert found == [found[0]] * 3
    assert (found[0]["limit_request_line"], found[0]["threads"]) == ("8190", "8")


def test_the_composition_waits_for_postgres_itself_and_migrates_again(tmp_path: Path) -> None:
    services = composition(tmp_path)["services"]
    assert "--host=127.0.0.1" in services["postgres"]["healthcheck"]["test"]
    assert services["migrate"]["restart"] == "on-failure:5"
    assert {name for name in services if "max-size" not in services[name]["logging"]["options"]} == set()


def test_what_a_team_may_do_without_is_an_empty_file(tmp_path: Path) -> None:
    services = composition(tmp_path)["services"]
    (tmp_path / "empty").touch()
    given = [(key, name) for name in SERVICES for key in services[name]["environment"]]
    optional = {"KVOPS_METRICS_TOKEN_FILE": "web", "KVOPS_HEARTBEAT_URL_FILE": "sweep", "SMTP_PASSWORD_FILE": "worker"}
    assert set(optional.items()) <= set(given)
    assert [env.text(key[:-5], "", {key: str(tmp_path / "empty")}) for key in optional] == ["", "", ""]


def test_the_sample_of_environments_is_accepted_and_shows_every_field() -> None:
    text = (DEPLOY / "environments.example.toml").read_text("utf-8")
    assert [one.slug for one in read_environments(load(text))] == ["qa", "production"]
    fields = {name.removeprefix("r2_") for name in EnvironmentDefinition.__dataclass_fields__}
    for field in sorted((fields | set(KVDefinition.__dataclass_fields__)) - {"kv", "d1"}):
        assert re.search(rf"^{field} = ", text, re.MULTILINE), field
        assert re.search(rf"^\| `{field}` \|", INSTALL, re.MULTILINE), field


def test_the_sample_of_the_policy_is_accepted_and_shows_every_field() -> None:
    text = (DEPLOY / "policy.example.toml").read_text("utf-8")
    Policy.read(load(text))
    for field in FamilyDefinition.__dataclass_fields__:
        assert re.search(rf"^{field} = ", text, re.MULTILINE), field
        assert re.search(rf"^\| `{field}` \|", INSTALL, re.MULTILINE), field


def test_every_setting_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    text = (ROOT / "kvops" / "settings.py").read_text("utf-8")
    named = set(re.findall(r'env\.[a-z_]+\(\s*"([A-Z_]+)"', text))
    assert {name for name in named if not re.search(rf"\b{name}\b", example)} == set()


@pytest.mark.parametrize("unit", ["web", "worker", "sweep"])
def test_the_document_names_every_file_that_a_unit_reads(unit: str) -> None:
    text = (DEPLOY / f"kvops-{unit}.service").read_text("utf-8")
    files = re.findall(r"^EnvironmentFile=-?(.+)$", text, re.MULTILINE)
    assert len(files) == 2
    assert all(f"`{file}`" in INSTALL for file in files)


@pytest.mark.parametrize("name", sorted(path.name for path in DEPLOY.iterdir()))
def test_the_document_names_every_file(name: str) -> None:
    assert f"deploy/{name}" in INSTALL or f"deploy/{name.partition('-')[0]}-*.service" in INSTALL
