"""What a copy is worth without us: plain wrangler puts a dump back, byte for byte, on Cloudflare's own runtime."""

import base64
import json
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from django.core.management import call_command

from kvops.models import Category, Environment, Namespace
from tests import make
from tests.sandbox_fixture import SandboxApi

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db]
LATER = int(time.time()) + 86_400
ODD: list[dict[str, object]] = [
    {"key": "odd:plain", "value": "text"},
    {"key": "odd:empty", "value": ""},
    {"key": "odd:日本語/100%?#&+ space", "value": "値"},
    {"key": "odd:😀", "value": "\ufeffwith a byte order mark"},
    {"key": "odd:cafe\u0301", "value": "decomposed"},
    {"key": "odd:café", "value": "composed"},
    {"key": "odd:binary", "value": base64.b64encode(bytes(range(256)) * 9).decode(), "base64": True},
    {"key": "odd:metadata", "value": "{}", "metadata": {"owner": "薬局", "tags": [1, None, {"deep": True}]}},
    {"key": "odd:expires", "value": "soon gone", "expiration": LATER, "metadata": {"a": 1}},
    {"key": "odd:" + "x" * 508, "value": "a name of 512 bytes"},
]


@pytest.fixture
def namespace(sandbox_api: SandboxApi, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """QA's SETTINGS on the runtime, with a cache family of odd keys."""
    account = sandbox_api.qa
    monkeypatch.setenv("RUNTIME_READ", account.read_token)
    made = Environment.objects.create(
        slug="qa",
        name="QA",
        order=1,
        account_id=account.account_id,
        read_token="env:RUNTIME_READ",
        write_token="env:RUNTIME_WRITE",
        api_base_url=sandbox_api.base_url,
    )
    make.family("odd:", Category.CACHE)
    _send(sandbox_api, "PUT", "bulk", ODD)
    return Namespace.objects.create(
        environment=made, binding="SETTINGS", namespace_id=account.namespace_id, title=account.namespace_title
    )


def test_a_family_of_odd_keys_comes_back_byte_for_byte(
    namespace: Namespace, sandbox_api: SandboxApi, tmp_path: Path
) -> None:
    before = _everything(sandbox_api)
    dump = tmp_path / "odd.json"
    call_command("kv_dump", "qa/SETTINGS", "--prefix", "odd:", "--output", str(dump))
    _send(sandbox_api, "POST", "bulk/delete", [entry["key"] for entry in ODD])
    assert _everything(sandbox_api) == {}
    command = ["kv", "bulk", "put", str(dump), "--namespace-id", namespace.namespace_id, "--remote"]
    subprocess.run(
        [*sandbox_api.wrangler, *command], env=sandbox_api.wrangler_for(sandbox_api.qa), check=True, capture_output=True
    )
    assert _everything(sandbox_api) == before
    assert len(before) == len(ODD)


def _send(api: SandboxApi, method: str, route: str, body: object) -> None:
    headers = {"Authorization": f"Bearer {api.qa.write_token}"}
    url = f"{api.namespace_url(api.qa)}/{route}"
    httpx.request(method, url, json=body, headers=headers, trust_env=False, timeout=30).raise_for_status()


def _everything(api: SandboxApi) -> dict[str, tuple[object, object, bytes]]:
    """Name to expiration, metadata and value of every odd key, as KV itself answers."""
    headers = {"Authorization": f"Bearer {api.qa.write_token}"}
    with httpx.Client(base_url=api.namespace_url(api.qa), headers=headers, trust_env=False, timeout=30) as kv:
        listed = kv.get("/keys", params={"prefix": "odd:"}).raise_for_status().json()["result"]
        found: dict[str, tuple[object, object, bytes]] = {}
        for key in listed:
            value = kv.get(f"/values/{quote(key['name'], safe='')}").raise_for_status()
            found[key["name"]] = (key.get("expiration"), json.dumps(key.get("metadata")), value.content)
    return found
