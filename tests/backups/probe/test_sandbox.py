"""The probe on Cloudflare's own runtime."""

import io
import json

import pytest
from django.core.management import call_command

from kvops import timing
from kvops.models import Database, Environment
from tests.sandbox_fixture import SandboxApi

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db]
NOT_KNOWN = ["R2: unfinished uploads", "R2: lock", "R2: Date"]
"""The S3 endpoint of wrangler lists no uploads, enforces no lock and tells no time."""


def test_cloudflares_own_runtime_behaves_as_kvops_relies_on(
    sandbox_api: SandboxApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "REQUEST_TIMEOUT", 60.0)  # the runtime is slow on a busy machine
    monkeypatch.setattr(timing, "SETTLE", 60.0)
    account = sandbox_api.production
    secrets = {
        "READ": account.read_token,
        "PROBE": account.write_token,
        "R2_KEY": account.r2_key,
        "R2_SECRET": account.r2_secret,
    }
    for name, value in secrets.items():
        monkeypatch.setenv(f"RUNTIME_{name}", value)
    made = Environment.objects.create(
        slug="production",
        name="Production",
        order=2,
        production=True,
        account_id=account.account_id,
        read_token="env:RUNTIME_READ",
        write_token="env:RUNTIME_WRITE",
        api_base_url=sandbox_api.base_url,
        r2_endpoint=sandbox_api.s3_endpoint,
        r2_bucket="another-bucket",
        r2_access_key_id="env:RUNTIME_R2_KEY",
        r2_secret_access_key="env:RUNTIME_R2_SECRET",
    )
    Database.objects.create(environment=made, binding="MASTERS_D1", database_id=account.database_id)
    out = io.StringIO()
    asked = ["production", "--namespace-id", account.scratch_id, "--bucket", account.bucket]
    call_command("probe_cloudflare", *asked, "--write-token", "env:RUNTIME_PROBE", "--json", stdout=out)
    report = json.loads(out.getvalue())
    assert [one["name"] for one in report["findings"] if one["state"] == "differs"] == []
    not_known = [one["name"] for one in report["findings"] if one["state"] == "not known"]
    assert not_known == NOT_KNOWN, [one["seen"] for one in report["findings"]]
    assert (report["ok"], report["left"], report["locked"]) == (True, [], [])
