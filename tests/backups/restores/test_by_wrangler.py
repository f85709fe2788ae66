"""What a copy is worth without us: plain wrangler, and age, put it back byte for byte on Cloudflare's own runtime."""

import base64
import json
import os
import re
import shlex
import subprocess
import time
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from django.core.management import call_command

from backups.models import Generation
from kvops.models import Category, Environment, Namespace
from tests import keys, make
from tests.sandbox_fixture import SandboxApi

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db]
LATER = int(time.time()) + 86_400
ODD: list[dict[str, object]] = [
    {"key": "wrg:plain", "value": "text"},
    {"key": "wrg:empty", "value": ""},
    {"key": "wrg:日本語/100%?#&+ space", "value": "値"},
    {"key": "wrg:😀", "value": "\ufeffwith a byte order mark"},
    {"key": "wrg:cafe\u0301", "value": "decomposed"},
    {"key": "wrg:café", "value": "composed"},
    {"key": "wrg:binary", "value": base64.b64encode(bytes(range(256)) * 9).decode(), "base64": True},
    {"key": "wrg:metadata", "value": "{}", "metadata": {"owner": "薬局", "tags": [1, None, {"deep": True}]}},
    {"key": "wrg:expires", "value": "soon gone", "expiration": LATER, "metadata": {"a": 1}},
    {"key": "wrg:" + "x" * 508, "value": "a name of 512 bytes"},
]


@pytest.fixture
def namespace(sandbox_api: SandboxApi, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """QA's SETTINGS on the runtime, with a cache family of odd keys."""
    account = sandbox_api.qa
    secrets = {"READ": account.read_token, "R2_KEY": account.r2_key, "R2_SECRET": account.r2_secret}
    for name, value in secrets.items():
        monkeypatch.setenv(f"RUNTIME_{name}", value)
    made = Environment.objects.create(
        slug="qa",
        name="QA",
        order=1,
        account_id=account.account_id,
        read_token="env:RUNTIME_READ",
        write_token="env:RUNTIME_WRITE",
        api_base_url=sandbox_api.base_url,
        r2_endpoint=sandbox_api.s3_endpoint,
        r2_bucket=account.bucket,
        r2_access_key_id="env:RUNTIME_R2_KEY",
        r2_secret_access_key="env:RUNTIME_R2_SECRET",
    )
    make.family("wrg:", Category.CACHE)
    _send(sandbox_api, "PUT", "bulk", ODD)
    return Namespace.objects.create(
        environment=made, binding="SETTINGS", namespace_id=account.namespace_id, title=account.namespace_title
    )


def test_a_family_of_odd_keys_comes_back_byte_for_byte(
    namespace: Namespace, sandbox_api: SandboxApi, tmp_path: Path
) -> None:
    before = _everything(sandbox_api)
    dump = tmp_path / "odd.json"
    call_command("kv_dump", "qa/SETTINGS", "--prefix", "wrg:", "--output", str(dump))
    _send(sandbox_api, "POST", "bulk/delete", [entry["key"] for entry in ODD])
    assert _everything(sandbox_api) == {}
    command = ["kv", "bulk", "put", str(dump), "--namespace-id", namespace.namespace_id, "--remote"]
    subprocess.run(
        [*sandbox_api.wrangler, *command], env=sandbox_api.wrangler_for(sandbox_api.qa), check=True, capture_output=True
    )
    assert _everything(sandbox_api) == before
    assert len(before) == len(ODD)


@pytest.mark.usefixtures("encrypting")
def test_settings_come_back_by_following_their_recovery_steps_to_the_letter(
    namespace: Namespace, sandbox_api: SandboxApi, tmp_path: Path
) -> None:
    make.change_families(category=Category.SETTINGS)
    before, out = _everything(sandbox_api), StringIO()
    call_command("kv_dump", "qa/SETTINGS", "--prefix", "wrg:", "--to-r2", "--json", stdout=out, stderr=StringIO())
    backup = Generation.objects.get(pk=json.loads(out.getvalue())["generation"])
    assert (backup.status, backup.encrypted) == ("verified", True)
    _send(sandbox_api, "POST", "bulk/delete", [entry["key"] for entry in ODD])
    _follow(sandbox_api, f"{backup.bucket}/{backup.stem}.RESTORE.md", tmp_path)
    assert _everything(sandbox_api) == before
    assert [one.name for one in tmp_path.glob("part-*")] == ["part-00001.json.age"]  # nothing readable is left


def _follow(api: SandboxApi, steps: str, folder: Path) -> None:
    """What a person does who has the bucket, a token and the identity that was kept offline: every command, in order.

    Only what the steps leave open (`…`) is filled in, and `npx wrangler` is the wrangler that is pinned.
    """
    identity, npx = folder / "offline.txt", folder / "bin" / "npx"
    identity.write_text(f"{keys.OFFLINE}\n")
    npx.parent.mkdir()
    npx.write_text(f'#!/bin/sh\nshift\nexec {shlex.join(api.wrangler)} "$@"\n')
    npx.chmod(0o755)
    env = api.wrangler_for(api.qa) | {"PATH": f"{npx.parent}{os.pathsep}{os.environ['PATH']}"}
    fetch = ["npx", "wrangler", "r2", "object", "get", steps, "--file", "RESTORE.md", "--remote"]
    got = subprocess.run(fetch, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert got.returncode == 0, got.stdout + got.stderr
    text = (folder / "RESTORE.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
    script = script.replace("AGE_IDENTITY=…", f"AGE_IDENTITY={shlex.quote(str(identity))}")
    script = script.replace("CLOUDFLARE_API_TOKEN=…", f"CLOUDFLARE_API_TOKEN={api.qa.write_token}")
    assert "…" not in script
    run = ["bash", "-e", "-c", script]
    done = subprocess.run(run, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _send(api: SandboxApi, method: str, route: str, body: object) -> None:
    headers = {"Authorization": f"Bearer {api.qa.write_token}"}
    url = f"{api.namespace_url(api.qa)}/{route}"
    httpx.request(method, url, json=body, headers=headers, trust_env=False, timeout=30).raise_for_status()


def _everything(api: SandboxApi) -> dict[str, tuple[object, object, bytes]]:
    """Name to expiration, metadata and value of every odd key, as KV itself answers."""
    headers = {"Authorization": f"Bearer {api.qa.write_token}"}
    with httpx.Client(base_url=api.namespace_url(api.qa), headers=headers, trust_env=False, timeout=30) as kv:
        listed = kv.get("/keys", params={"prefix": "wrg:"}).raise_for_status().json()["result"]
        found: dict[str, tuple[object, object, bytes]] = {}
        for key in listed:
            value = kv.get(f"/values/{quote(key['name'], safe='')}").raise_for_status()
            found[key["name"]] = (key.get("expiration"), json.dumps(key.get("metadata")), value.content)
    return found
