"""The commands of docker-compose.yml, as processes: the same order, settings, secrets and health checks."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from pyrage import x25519

from sandbox import postgres
from tests.clusters import until
from tests.test_deploy import ROOT, composition, dockerfile

HOST = "kvops.example.com"


class Composition:
    """The services as processes on this machine, each in the environment that Compose gives it."""

    def __init__(self, folder: Path, owner_url: str) -> None:
        self.folder = folder
        self.services = composition(folder)["services"]
        self.port = free_port()
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        place = owner_url.partition("@")[2]
        identity = x25519.Identity.generate()
        secrets = {
            "secret_key": "compose-" + "$x" * 30,
            "smtp_password": "",
            "owner_database_url": owner_url,
            "app_database_url": f"postgres://kvops_app:{quote('pa$$word', safe='')}@{place}",
            "age_identity": str(identity),
            "digest_key": "$d" * 30,
            "review_identity": str(x25519.Identity.generate()),
        }
        (folder / "secrets").mkdir()
        for name, secret in secrets.items():
            (folder / "secrets" / name).write_text(secret)
        self.recipients = f"{identity.to_public()},{x25519.Identity.generate().to_public()}"

    def environ(self, name: str) -> dict[str, str]:
        given: dict[str, str] = self.services[name]["environment"]
        here = {key: value.replace("/run/secrets", str(self.folder / "secrets")) for key, value in given.items()}
        image = {"PORT": str(self.port), "KVOPS_STATIC_ROOT": str(self.folder / "static"), "HOME": str(self.folder)}
        path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"}
        return here | image | path | {"KVOPS_AGE_RECIPIENTS": self.recipients}

    def command(self, name: str) -> list[str]:
        own = [words for instruction, words in dockerfile() if instruction == "CMD"]
        return list(self.services[name]["command"] or json.loads(own[-1]))

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environ(name), cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
        )

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.started[name] = subprocess.Popen(
                self.command(name), env=self.environ(name), cwd=ROOT, stdout=log, stderr=log
            )

    def healthy(self, name: str) -> bool:
        assert self.started[name].poll() is None, (self.folder / f"{name}.log").read_text()
        check: list[str] = self.services[name]["healthcheck"]["test"]
        assert check[0] == "CMD"
        return self.run(name, *check[1:]).returncode == 0

    def get(self, path: str) -> httpx.Response:
        return httpx.get(
            f"http://127.0.0.1:{self.port}{path}",
            headers={"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"},
            trust_env=False,
        )

    def stop(self, name: str) -> int:
        process = self.started.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(60)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """The composition after `migrate`, the first of its services."""
    folder = tmp_path_factory.mktemp("compose")
    with postgres.serving(folder / "postgres", durable=False) as owner_url:
        found = Composition(folder, owner_url)
        migrated = found.run("migrate", *found.command("migrate"))
        assert migrated.returncode == 0, migrated.stderr
        yield found
        for process in found.started.values():
            process.kill()
            process.wait()


def test_a_process_that_is_not_there_is_not_healthy(compose: Composition) -> None:
    for name, sentence in (("web", "does not answer"), ("worker", "never seen"), ("sweep", "never seen")):
        check = compose.services[name]["healthcheck"]["test"]
        found = compose.run(name, *check[1:])
        assert (found.returncode, found.stderr.count("\n")) == (1, 1)
        assert sentence in found.stderr


def test_each_command_of_the_composition_runs_in_its_order_and_stops_in_time(compose: Composition) -> None:
    assert compose.run("sweep", "python", "manage.py", "collectstatic", "--no-input", "-v0").returncode == 0
    for name in ("web", "worker", "sweep"):
        compose.start(name)
    for name in ("web", "worker", "sweep"):
        until(f"{name} is healthy", partial(compose.healthy, name))
    until("all is ready", lambda: compose.get("/readyz").text == "ok\n")
    assert compose.get("/account/login/").status_code == 200
    people = ("--operator", "o@example.com", "--reviewer", "r@example.com")
    asked = compose.run("sweep", "python", "manage.py", "setup_people", *people)
    assert f"https://{HOST}/account/password/reset/key/" in asked.stdout
    examined = compose.run("worker", "python", "manage.py", "doctor").stdout
    assert "ok        Database role: kvops_app" in examined
    assert "ok        Digest key" in examined
    assert {name: compose.stop(name) for name in ("sweep", "worker", "web")} == {"sweep": 0, "worker": 0, "web": 0}
