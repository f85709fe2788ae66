"""`make demo` on machines that lack something: one sentence, and the machine's own certificate authorities."""

import os
import subprocess
from pathlib import Path

import pytest

from sandbox import node, postgres, start
from sandbox.environment import PEOPLE, Ports, environments_toml, for_an_installation

ROOT = Path(__file__).parent.parent
VENV = (ROOT / ".ci" / "venv").read_text("utf-8")
NONE = "KVOps needs Python 3.12, 3.13 or 3.14, and this machine has none of them."


def make_venv(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """`.ci/venv` in a folder of its own, on a machine with these programs only."""
    (folder / ".ci").mkdir()
    (folder / ".ci" / "venv").write_text(VENV)
    (folder / "bin").mkdir()
    for name, script in {**programs, "dirname": 'exec /usr/bin/dirname "$@"'}.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    environ = {"PATH": str(folder / "bin")}
    command = ["/bin/bash", str(folder / ".ci" / "venv")]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("programs", [{}, {"uv": "exit 2"}], ids=["no python3", "an older python"])
def test_a_machine_without_a_new_python_is_told_so_in_one_sentence(tmp_path: Path, programs: dict[str, str]) -> None:
    done = make_venv(tmp_path, **programs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(NONE)
    assert done.stderr.count("\n") == 1


def test_npm_trusts_what_uv_trusts(tmp_path: Path) -> None:
    inspection, own = tmp_path / "inspection.pem", tmp_path / "own.pem"
    inspection.touch()
    assert node.trusting({"SSL_CERT_FILE": str(inspection)})["NODE_EXTRA_CA_CERTS"] == str(inspection)
    assert node.trusting({}, [own, inspection])["NODE_EXTRA_CA_CERTS"] == str(inspection)
    assert node.trusting({"NODE_EXTRA_CA_CERTS": str(own)}, [inspection])["NODE_EXTRA_CA_CERTS"] == str(own)
    assert node.trusting({}, [own]) == {"NODE_USE_SYSTEM_CA": "1"}


def test_node_reads_the_variable_that_is_set() -> None:
    found = node.find()
    script = "process.stdout.write(String(require('tls').rootCertificates.length))"
    environ = {**node.trusting(os.environ), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [found.node, "-e", script], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) > 0
    assert done.stderr == ""


def test_the_address_is_printed_again_only_after_sample_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox = start._Sandbox(tmp_path, None, Ports(8000, 1), "")  # type: ignore[arg-type]
    for name in ("_manage", "_scan", "_seed_rest", "_back_up"):
        monkeypatch.setattr(start._Sandbox, name, lambda *_words: None)
    assert [sandbox.fill(), sandbox.fill()] == [True, False]
    start._welcome(sandbox.ports, 1.0)
    printed = capsys.readouterr().out
    assert "KVOps is at http://localhost:8000" in printed
    assert all(mail in printed for mail in PEOPLE)


def test_cloudflare_alone_starts_neither_postgres_nor_kvops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for where, names in ((start._Sandbox, ("_seed_first", "_seed_rest", "stay")), (node, ("install", "start"))):
        for name in names:
            monkeypatch.setattr(where, name, lambda *_words, did=name: done.append(did))
    monkeypatch.setattr(postgres, "running", None)
    monkeypatch.setattr(start, "FOLDER", tmp_path)
    assert start.main(["--cloudflare"]) == 0
    assert done == ["install", "start", "_seed_first", "_seed_rest", "_seed_rest", "stay"]


def test_an_installation_gets_each_secret_that_its_environments_name_and_the_web_server_no_write_token(
    tmp_path: Path,
) -> None:
    environments = environments_toml(Ports(1, 2))
    everybody, worker = for_an_installation(tmp_path / "environments.toml").split("worker.env")
    named = {word.removeprefix("env:") for word in environments.split('"') if word.startswith("env:")}
    assert {name for name in named if f"\n{name}=" in worker} == {"QA_KV_WRITE_TOKEN", "PROD_KV_WRITE_TOKEN"}
    assert {name for name in named if f"\n{name}=" in everybody} == {one for one in named if "WRITE" not in one}
