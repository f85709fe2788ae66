"""The commands of docker-compose.yml, as processes: the same order, settings, secrets and health checks.

Cloudflare, R2, Slack and the mail server are fakes, so loopback hosts stand for theirs. `KVOPS_TESTING` shortens the
waits. Else each process has the environment of its service, and one folder has the secrets of all. Caddy is in front,
with the sample of `deploy/`.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page
from pyrage import x25519

from sandbox import postgres
from sandbox.environment import PEOPLE
from tests.browser.conftest import ARGUMENTS, CHROMIUM, PATIENCE
from tests.browser.job import BrowserJob, follow, reload_until
from tests.clusters import until
from tests.composed import Outside, outside
from tests.test_deploy import DEPLOY, ROOT, composition, dockerfile

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
HOST = "kvops.example.com"
ACCEPT = "Application works: record it"
CADDY = """{{
    admin off
    local_certs
    skip_install_trust
    auto_https disable_redirects
    https_port {port}
    storage file_system {folder}/caddy
}}
"""
"""Certificates of Caddy's own, and a port that needs no root."""


class Composition:
    """The services as processes on this machine, each in the environment that Compose gives it."""

    def __init__(self, folder: Path, owner_url: str, given: Outside) -> None:
        self.folder, self.outside = folder, given
        self.services = composition(folder)["services"]
        self.port, self.tls_port = free_port(), free_port()
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        place = owner_url.partition("@")[2]
        identity = x25519.Identity.generate()
        secrets = {
            "secret_key": "compose-" + "$x" * 30,
            **dict.fromkeys(("smtp_password", "metrics_token", "heartbeat_url", "sentry_dsn"), ""),
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
        return {**here, **image, **path, **self.outside.settings, "KVOPS_AGE_RECIPIENTS": self.recipients}

    def command(self, name: str) -> list[str]:
        own = [words for instruction, words in dockerfile() if instruction == "CMD"]
        return list(self.services[name]["command"] or json.loads(own[-1]))

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environ(name), cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
        )

    def manage(self, name: str, *command: str) -> str:
        """The output of a command of `manage.py` in a service."""
        done = self.run(name, "python", "manage.py", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str) -> None:
        self._start(name, self.command(name), self.environ(name))

    def start_proxy(self) -> None:
        """Caddy, with the sample's site in front of our port."""
        site = (DEPLOY / "Caddyfile").read_text("utf-8").replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        (self.folder / "Caddyfile").write_text(CADDY.format(port=self.tls_port, folder=self.folder) + site)
        environ = {"PATH": os.defpath, "HOME": str(self.folder)}
        self._start("caddy", ["caddy", "run", "--config", f"{self.folder}/Caddyfile"], environ)

    def _start(self, name: str, command: list[str], environ: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.started[name] = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=log, stderr=log)

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


def test_the_main_job_is_done_through_the_commands_of_the_composition(compose: Composition, browser: Browser) -> None:
    people = ("--operator", "operator@example.com", "--reviewer", "reviewer@example.com")
    asked = compose.manage("worker", "setup_people", *people)
    for kind in ("environments", "policy"):
        compose.manage("worker", f"apply_{kind}", str(compose.folder / "config" / f"{kind}.toml"))
    compose.manage("sweep", "collectstatic", "--no-input", "-v0")
    for name in ("web", "worker", "sweep"):
        compose.start(name)
    for name in ("web", "worker", "sweep"):
        until(f"{name} is healthy", partial(compose.healthy, name))
    compose.start_proxy()
    until("all is ready", lambda: compose.get("/readyz").text == "ok\n")
    with visiting(browser, compose, re.findall(rf"https://{HOST}/account/password/reset/key/\S+", asked)) as pages:
        walk(BrowserJob(operator=pages[0], reviewer=pages[1]))
    assert (compose.outside.left("qa"), compose.outside.left("production")) == ([], [])
    examined = compose.run("worker", "python", "manage.py", "doctor").stdout
    assert "ok        Database role: kvops_app" in examined
    assert "ok        Digest key" in examined
    assert {name: compose.stop(name) for name in ("sweep", "worker", "web")} == {"sweep": 0, "worker": 0, "web": 0}


@contextmanager
def visiting(browser: Browser, compose: Composition, links: list[str]) -> Iterator[list[Page]]:
    """A page of each person, who chose a password by their link and signed in, in a browser that finds our proxy."""
    found = f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{compose.tls_port}"
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=[*ARGUMENTS.split(), found])
    pages = []
    for who, link in zip(("operator@example.com", "reviewer@example.com"), links, strict=True):
        context = other.new_context(base_url=f"https://{HOST}", locale="en", ignore_https_errors=True)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(link)
        for field in ("password1", "password2"):
            page.fill(f"[name={field}]", PEOPLE[who][1])
        follow(page.get_by_role("button", name="Choose the password"))
        page.goto("/account/login/")
        page.fill("#id_login", who)
        page.fill("#id_password", PEOPLE[who][1])
        follow(page.locator("form[action='/account/login/'] [type=submit]"))
        pages.append(page)
    yield pages
    other.close()


def walk(job: BrowserJob) -> None:
    """The main job of two people, from the scans to the proof in production, by the buttons of the pages."""
    page = job.operator
    for slug in ("qa", "production"):
        page.goto(f"/keys/{slug}/SETTINGS/?prefix=master:")
        follow(page.get_by_role("button", name="Scan now").first)
    job.search_code("master:")
    for slug in ("qa", "production"):
        page.goto(f"/keys/{slug}/SETTINGS/?prefix=master:")
        reload_until(page, page.get_by_text("master:a:1").first.is_visible)
    job.ask("master:")
    for title, then in (("qa-SETTINGS", "Record it, and prepare Production"), ("production-SETTINGS", ACCEPT)):
        job.prepare(title)
        job.approve(title)
        job.delete(title)
        job.accept(title, "Opened the pages; all is well.", then=then)
