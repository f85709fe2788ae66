"""`make demo` on machines that lack something: one sentence, and the machine's own certificate authorities."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from django.test import override_settings

from sandbox import node, postgres, processes, start
from sandbox.environment import PEOPLE, Ports, environments_toml, filling, for_an_installation
from sandbox.processes import Supervisor
from tests import make
from tests.signing import signed_in

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
    for name in ("_manage", "_seed_rest"):
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


class Stranger(BaseHTTPRequestHandler):
    """Another program on this machine: it answers 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_words: object) -> None:
        """Nothing: a test has no log."""


@contextmanager
def strangers_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_the_answer_of_a_stranger_is_not_taken_for_that_of_kvops() -> None:
    with strangers_port() as port:
        assert httpx.get(f"http://localhost:{port}/healthz", trust_env=False).is_success
        assert not start.serves(f"http://localhost:{port}", "a1b2")


def test_a_port_that_is_gone_is_said_and_another_one_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with strangers_port() as port, processes.listening(tmp_path / "web", port) as sockets:
        mine = sockets[0].getsockname()[1]
        assert mine != port
        assert f"port {port} is taken by another program; KVOps takes {mine}" in capsys.readouterr().out
        assert (tmp_path / "web").read_text() == str(mine)


def test_nobody_takes_the_port_between_its_choice_and_the_start_of_the_server(tmp_path: Path) -> None:
    with processes.listening(tmp_path / "web", 0) as sockets:
        for mine in sockets:
            with socket.socket(mine.family) as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind(mine.getsockname()[:2])


def test_gunicorn_serves_on_the_socket_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    with processes.listening(tmp_path / "web", 0) as sockets, Supervisor(tmp_path / "logs") as supervisor:
        ports = Ports(sockets[0].getsockname()[1], 1)
        sandbox = start._Sandbox(tmp_path, supervisor, ports, os.environ["DATABASE_URL"], sockets)
        sandbox._start_web()
        assert start.serves(ports.web_url, sandbox.nonce)
        assert not start.serves(ports.web_url, "the number of another start")


def failing(times: int, done: list[str]) -> Callable[..., None]:
    """The commands of the sample data, of which the first fails so many times, as while a person's scan runs."""
    left = [times]

    def run(_self: object, name: str, *_words: object, **_more: object) -> None:
        done.append(name)
        if left[0]:
            left[0] -= 1
            raise processes.StepFailed("scan failed", f"{name}: scan of qa/SETTINGS is already running.")

    return run


@pytest.mark.parametrize(("times", "words"), [(1, "It is tried again in 0 s."), (12, "is left out")])
def test_work_that_a_person_starts_meanwhile_does_not_end_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], times: int, words: str
) -> None:
    done: list[str] = []
    monkeypatch.setattr(start, "AGAIN", 0.0)
    monkeypatch.setattr(Supervisor, "run", failing(times, done))
    monkeypatch.setattr(start._Sandbox, "_seed_rest", lambda *_words: None)
    with Supervisor(tmp_path) as supervisor:
        assert start._Sandbox(tmp_path, supervisor, Ports(8000, 1), "postgres://kvops@127.0.0.1/kvops").fill()
    assert words in capsys.readouterr().out
    assert (done.count("history look"), done.count("kv_dump qa SETTINGS")) == (min(times + 1, 12), 1)
    assert [(tmp_path / "done" / name).exists() for name in ("look", "backups")] == [times < start.TRIES, True]


def test_a_server_that_ended_ends_the_demo_though_a_step_could_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "run", failing(1, []))
    with Supervisor(tmp_path) as supervisor:
        supervisor.start("web", ["false"], env={"PATH": os.environ["PATH"]}, cwd=tmp_path).process.wait()
        with pytest.raises(processes.ProcessFailed, match="web ended with exit code 1"):
            start._Sandbox(tmp_path, supervisor, Ports(8000, 1), "postgres://kvops@127.0.0.1/kvops").fill()


@pytest.mark.django_db
@pytest.mark.usefixtures("estate")
def test_sample_data_that_still_arrives_is_said_on_the_overview(people: make.People, tmp_path: Path) -> None:
    operator, file, said = signed_in(people.operator), filling(tmp_path), []
    with override_settings(SANDBOX=True, SANDBOX_FILLING=str(file)):
        for change in (file.touch, file.unlink):
            change()
            said.append("Sample data still arrives" in operator.get("/").content.decode())
    assert said == [True, False]
