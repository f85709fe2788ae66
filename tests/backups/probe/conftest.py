"""A scratch namespace and a scratch bucket in QA's account, which no environment uses."""

import io
import json
import os
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from backups.probe import reading
from tests import make
from tests.fakes import cloudflare_api
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3

SCRATCH = "9" * 32
BUCKET = "kvops-scratch"


@dataclass
class Scratch:
    """The target of a probe, with the services behind it."""

    cloudflare: FakeCloudflare
    s3: FakeS3
    estate: make.Estate

    def run(self, *more: str, namespace: str = SCRATCH, bucket: str = BUCKET) -> tuple[int, str]:
        """The command as a person types it: exit code and output."""
        out = io.StringIO()
        asked = ["qa", "--namespace-id", namespace, "--bucket", bucket, "--write-token", "env:PROBE_WRITE", *more]
        try:
            call_command("probe_cloudflare", *asked, stdout=out)
        except CommandError as error:
            return error.returncode, str(error)
        except SystemExit as over:
            return int(str(over.code)), out.getvalue()
        return 0, out.getvalue()

    def report(self) -> dict[str, Any]:
        """The report of a probe."""
        return dict(json.loads(self.run("--json")[1]))


@pytest.fixture
def scratch(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    account = estate.qa.environment.account_id
    estate.cloudflare.add_token("probe-write-token", account=account, permission="write")
    estate.cloudflare.add_namespace(account, SCRATCH, "kvops-probe")
    estate.cloudflare.add_bucket(account, BUCKET)
    monkeypatch.setitem(os.environ, "PROBE_WRITE", "probe-write-token")
    monkeypatch.setattr(estate.s3, "bucket", BUCKET)
    monkeypatch.setattr(reading, "BIG", 1_300)  # two are over the limit of the fake, as two of 13 MiB are over KV's
    monkeypatch.setattr(cloudflare_api, "BULK_GET_BYTES", 2_500)
    return Scratch(estate.cloudflare, estate.s3, estate)
