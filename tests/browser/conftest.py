"""The whole product in its sandbox, on ports and in a folder of its own, and a browser to use it with."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sandbox import environment
from sandbox.environment import PEOPLE, SandboxAccount
from sandbox.processes import remembered_port

CHROMIUM = "/usr/bin/chromium-headless-shell"
"""Chromium without a window. The other one keeps a whole window alive, also when it is headless."""
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)
SDK = Path(__file__).parent / "sdk"
"""A fake of 1Password's SDK, for the processes of the sandbox."""
PATIENCE = 300_000
"""Milliseconds that anything may take: much longer than it does on a busy machine, shorter than a test may last."""
SCALE = "0.02"
"""The product's waits are a fifth of the demo's; a listing is current 6 s after a delete."""

# A shell lets what it starts in the background ignore Ctrl-C, which must end the sandbox here too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pictures come last: they show the work of all other files, and at their end everything stands still."""
    items.sort(key=lambda item: item.path.name == "test_screenshots.py")


@dataclass(frozen=True)
class Product:
    """A running sandbox."""

    url: str
    api: str
    folder: Path

    def keys(self, account: SandboxAccount, prefix: str) -> set[str]:
        """The names KV itself lists, asked past the product."""
        names: set[str] = set()
        cursor = ""
        with self._kv(account) as kv:
            while True:
                answer = kv.get("keys", params={"prefix": prefix, "cursor": cursor}).raise_for_status().json()
                names |= {key["name"] for key in answer["result"]}
                cursor = answer["result_info"]["cursor"]
                if not cursor:
                    return names

    def beside(self, account: SandboxAccount, prefix: str) -> dict[str, tuple[int | None, object]]:
        """The expiration and the metadata of the keys that KV lists, at most a thousand."""
        with self._kv(account) as kv:
            found = kv.get("keys", params={"prefix": prefix}).raise_for_status().json()["result"]
        return {key["name"]: (key.get("expiration"), key.get("metadata")) for key in found}

    def write(self, account: SandboxAccount, name: str, value: bytes) -> None:
        """Change a key past the product, as an application would."""
        with self._kv(account) as kv:
            kv.put(f"values/{name}", content=value).raise_for_status()

    def remove(self, account: SandboxAccount, name: str) -> None:
        """Delete a key past the product, as a script would."""
        with self._kv(account) as kv:
            kv.post("bulk/delete", json=[name]).raise_for_status()

    def read(self, account: SandboxAccount, name: str) -> bytes:
        """The value KV itself answers with."""
        with self._kv(account) as kv:
            return kv.get(f"values/{name}").raise_for_status().content

    def also_reviews(self, email: str) -> None:
        """Give somebody the reviewer's role besides, as one account may hold several."""
        self._shell(
            "from kvops.approvals import gate; from kvops.models import Person, Role\n"
            "from kvops.roles import requests\n"
            f"change = requests.RoleChange.of('grant', Person.objects.get(email={email!r}), Role.REVIEWER)\n"
            "by, other = Person.objects.get(name='operator2'), Person.objects.get(name='reviewer')\n"
            "asked = requests.ask(change, by=by, reason='reviews too')\n"
            "gate.approve(asked, by=other, shown=asked.digest)\n"
            "requests.use(asked, by=by)"
        )

    def asks_for_another_policy(self) -> None:
        """Let a change of the policy wait for a reviewer."""
        self._shell(
            "from audit.log import Actor; from backups import policy; from backups.families import policy_file\n"
            "from kvops.approvals import prepared_changes; from kvops.models import Person\n"
            "text = policy_file.policy_text().replace('operator@', 'operator2@')\n"
            "change = policy.apply_policy(text, actor=Actor.command())\n"
            "prepared_changes.submit_change(change, by=Person.objects.get(name='operator'))"
        )

    def registers_a_family(self, pattern: str) -> str:
        """Let a family wait for a reviewer. Returns the address of its request."""
        told = self.folder / "family"
        self._shell(
            "from pathlib import Path; from backups.families import requests\n"
            "from kvops.inventory.registration import FamilyRegistration; from kvops.models import Person\n"
            "asked = requests.register(FamilyRegistration.read({'feature': 'Sign-in', 'binding': 'SETTINGS',"
            f" 'pattern': {pattern!r}, 'exact': False, 'category': 'cache', 'owner': 'operator@example.com',"
            f" 'expiry': 'ttl:3600', 'sample_key': {pattern + 'f1c9a0b7e'!r},"
            " 'shape': '{\"user\": number}',"
            " 'review': 'https://wiki.example.com/reviews/12', 'note': ''}),"
            " by=Person.objects.get(name='operator'))\n"
            f"Path({str(told)!r}).write_text(f'/approvals/{{asked.pk}}/')"
        )
        return told.read_text("utf-8")

    def names_a_vault(self, account: SandboxAccount, vault: str) -> None:
        """Give an environment its 1Password vault, as an approved change of the environments does."""
        self._shell(
            "from kvops.models import Environment\n"
            f"Environment.objects.filter(slug={account.slug!r}).update(vault={vault!r})"
        )

    def alarm(self) -> None:
        """Press production's emergency stop, and let QA's bucket tell of a record that the database does not have."""
        self._shell(
            "from audit.models import Head; from django.db.models.functions import Now\n"
            "from kvops.runs import emergency; from kvops.models import DatabaseRollback, Environment, Person\n"
            "qa, production = Environment.objects.order_by('order'); ours = Head.objects.get().seq\n"
            "emergency.press(production, by=Person.objects.get(name='auditor'), reason='The list looks wrong.')\n"
            "key = 'backups/kv/master/20261126T010203.000000Z.manifest.json'\n"
            "DatabaseRollback.objects.create(environment=qa, manifest_key=key, modified_at=Now(), sequence=ours + 1200,"
            " hash='a' * 64, our_sequence=ours)"
        )

    def _shell(self, code: str) -> None:
        shell = 'set -a; . "$0"; exec "$@"'
        command = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
        subprocess.run(["bash", "-c", shell, self.folder / "env", *command], cwd=environment.ROOT, check=True)

    def _kv(self, account: SandboxAccount) -> httpx.Client:
        path = f"{self.api}/accounts/{account.account_id}/storage/kv/namespaces/{account.namespace_id}/"
        return httpx.Client(
            base_url=path, headers={"Authorization": f"Bearer {account.write_token}"}, trust_env=False, timeout=30
        )


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    """`make demo` as it is, but somewhere else; ready when all sample keys are scanned and settings copied."""
    with tempfile.TemporaryDirectory(prefix="kvops-demo-") as name:
        folder = Path(name)
        remembered_port(folder / "ports/web")  # not 8000, which somebody may be using
        output = folder / "output"
        script = (
            f"from pathlib import Path; from sandbox import start; raise SystemExit(start.run(Path({name!r}), False))"
        )
        # Its own Postgres and settings, not those of the tests.
        env = {key: os.environ[key] for key in os.environ if not key.startswith("KVOPS_") and key != "DATABASE_URL"}
        env["DJANGO_SETTINGS_MODULE"] = "kvops.settings"
        env["KVOPS_TIME_SCALE"] = SCALE
        env |= {"PYTHONPATH": str(SDK), "OP_SERVICE_ACCOUNT_TOKEN": "ops_token", "FAKE_1PASSWORD": f"{name}/documents"}
        with output.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-c", script], stdout=out, stderr=out, env=env)
        try:
            _wait(folder / "done/backups", process, output)
            address = re.search(r"KVOps is at (\S+)", output.read_text("utf-8"))
            assert address, output.read_text("utf-8")
            ports = environment.Ports(web=0, cloudflare=int((folder / "ports/cloudflare").read_text()))
            yield Product(address[1], ports.api_base_url, folder)
            assert process.poll() is None, output.read_text("utf-8")
        finally:
            process.terminate()
            process.wait(60)


def _wait(mark: Path, process: subprocess.Popen[bytes], output: Path) -> None:
    while not mark.exists():
        assert process.poll() is None, output.read_text("utf-8")
        assert "left out" not in output.read_text("utf-8"), output.read_text("utf-8")
        time.sleep(0.25)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield browser
        browser.close()


SignIn = Callable[..., Page]


@contextmanager
def signing_in(product: Product, browser: Browser) -> Iterator[SignIn]:
    """A way to a page of somebody who has just signed in; all of them are closed at the end."""
    contexts = []

    def opened(who: str, **options: object) -> Page:
        context = browser.new_context(base_url=product.url, locale="en", **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        email = f"{who}@example.com"
        page.goto("/account/login/")
        page.fill("#id_login", email)
        page.fill("#id_password", PEOPLE[email][1])
        page.click("form[action='/account/login/'] [type=submit]")
        page.wait_for_url(f"{product.url}/")
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def sign_in(product: Product, browser: Browser) -> Iterator[SignIn]:
    """A page of somebody who has just signed in: `sign_in("operator")`, with any options of a browser context."""
    with signing_in(product, browser) as opened:
        yield opened
