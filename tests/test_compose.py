"""The commands of docker-compose.yml, as processes: the same order, settings, secrets and health checks.

Cloudflare, R2, Slack and the mail server are fakes, so loopback hosts stand for theirs. `KVOPS_TESTING` shortens the
waits. Else each process has the environment of its service, and one folder has the secrets of all.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from pyrage import x25519

from kvops.references.report import Hit, Report, dumps
from sandbox import postgres
from tests import make
from tests.clusters import until
from tests.composed import NAMES, Outside, outside
from tests.plain_browser import PlainBrowser
from tests.test_deploy import ROOT, composition, dockerfile

HOST = "kvops.example.com"


class Composition:
    """The services as processes on this machine, each in the environment that Compose gives it."""

    def __init__(self, folder: Path, owner_url: str, given: Outside) -> None:
        self.folder, self.outside = folder, given
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
            **given.secrets,
        }
        (folder / "secrets").mkdir()
        for name, secret in secrets.items():
            (folder / "secrets" / name).write_text(secret)
        given.fill(folder / "config", folder / "secrets")
        self.recipients = f"{identity.to_public()},{x25519.Identity.generate().to_public()}"

    def environ(self, name: str) -> dict[str, str]:
        given: dict[str, str] = self.services[name]["environment"]
        here = {key: value.replace("/run/secrets", str(self.folder / "secrets")) for key, value in given.items()}
        image = {"PORT": str(self.port), "KVOPS_STATIC_ROOT": str(self.folder / "static"), "HOME": str(self.folder)}
        path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"}
        return here | image | path | self.outside.settings | {"KVOPS_AGE_RECIPIENTS": self.recipients}

    def command(self, name: str) -> list[str]:
        own = [words for instruction, words in dockerfile() if instruction == "CMD"]
        return list(self.services[name]["command"] or json.loads(own[-1]))

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environ(name), cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
        )

    def manage(self, name: str, *command: str) -> str:
        """What a command of `manage.py` says in a service."""
        done = self.run(name, "python", "manage.py", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

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
    with outside() as given, postgres.serving(folder / "postgres", durable=False) as owner_url:
        found = Composition(folder, owner_url, given)
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
    people = ("--operator", "operator@example.com", "--reviewer", "reviewer@example.com")
    asked = compose.manage("worker", "setup_people", *people)
    assert f"https://{HOST}/account/password/reset/key/" in asked
    for kind in ("environments", "policy"):
        applied = compose.manage("worker", f"apply_{kind}", str(compose.folder / "config" / f"{kind}.toml"))
        assert applied.startswith("Applied."), applied
    compose.manage("sweep", "collectstatic", "--no-input", "-v0")
    for name in ("web", "worker", "sweep"):
        compose.start(name)
    for name in ("web", "worker", "sweep"):
        until(f"{name} is healthy", partial(compose.healthy, name))
    until("all is ready", lambda: compose.get("/readyz").text == "ok\n")
    links = re.findall(r"https://\S+", asked)
    with browser(compose, "operator", links[0]) as operator, browser(compose, "reviewer", links[1]) as reviewer:
        walk(operator, reviewer)
    assert (compose.outside.left("qa"), compose.outside.left("production")) == ([], list(NAMES))
    examined = compose.manage("worker", "doctor")
    assert "ok        Database role: kvops_app" in examined
    assert "ok        Digest key" in examined
    assert {name: compose.stop(name) for name in ("sweep", "worker", "web")} == {"sweep": 0, "worker": 0, "web": 0}


def browser(compose: Composition, name: str, link: str) -> PlainBrowser:
    """The browser of a person who chose a password by their link, and signed in."""
    opened = PlainBrowser(f"https://{HOST}", compose.port)
    opened.open(link)
    opened.press("Choose the password", dict.fromkeys(["password1", "password2"], make.PASSWORD))
    opened.open("/account/login/")
    opened.press("Sign In", {"login": f"{name}@example.com", "password": make.PASSWORD})
    return opened


def walk(operator: PlainBrowser, reviewer: PlainBrowser) -> None:
    """The main job of two people in QA, from the scan to the proof, by the buttons of the pages."""
    search(operator)
    for slug in ("qa", "production"):
        operator.open(f"/keys/{slug}/SETTINGS/?prefix=master:")
        operator.press("Scan now")
        until(f"{slug} is scanned", partial(shows, operator, f"/keys/{slug}/SETTINGS/?prefix=master:", "3 keys match"))
    operator.open("/keys/qa/SETTINGS/?prefix=master:")
    operator.follow("Request a clean-up")
    operator.press("Request it and prepare", {"reason": "Migrated to D1."})
    operator.press("Record it for all", {"kind": "falls_back", "reason": "It reads D1 first."})
    card = operator.path
    until("it can be submitted", partial(offers, operator, card, "Submit for approval"))
    operator.press("Submit for approval")
    request = operator.follow("Open the request")
    assert "Delete 3 keys" in request.text
    reviewer.open(operator.path)
    reviewer.press("Approve", {"confirm": "qa-SETTINGS", **dict.fromkeys(reviewer.page.boxes("accept_"), "on")})
    operator.open(card)
    operator.press("Delete 3 keys", {"confirm": "qa-SETTINGS"})
    until("the keys are proven gone", partial(offers, operator, card, "Record it, and prepare Production"))


def shows(browser: PlainBrowser, address: str, words: str) -> bool:
    """Whether the page at an address has these words."""
    return words in browser.open(address).text


def offers(browser: PlainBrowser, address: str, label: str) -> bool:
    """Whether the page at an address has this button."""
    browser.open(address)
    return browser.has(label)


def search(operator: PlainBrowser) -> None:
    """Bring the report of a search of the code, which found two places."""
    context = ("const key = name;", "use(key);", "}")
    hits = [Hit(f"src/{name}.ts", 7, 3, "certain", "read", "SETTINGS master:*", "use(key)", context) for name in "ab"]
    report = dumps(Report("4f2a91c" + "0" * 33, 3, datetime.now(UTC), tuple(hits), ()))
    operator.open("/references/qa/")
    operator.press("Store this search", files={"report": ("hits.json", report, "application/json")})
