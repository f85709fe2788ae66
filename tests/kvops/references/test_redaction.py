"""Secrets in source code: none of them is in a report."""

import base64
import hashlib
from datetime import UTC, datetime

import pytest

from kvops.references.redaction import redacted
from kvops.references.report import dumps
from kvops.references.search import search_sources
from tests.kvops.references.test_projects import PATTERNS

CANARY = f"canary-{hashlib.sha256(b'canary').hexdigest()[:24]}"
BASE64 = base64.b64encode(hashlib.sha256(b"value").digest()).decode()


@pytest.mark.parametrize(
    "line",
    [
        f'const note = "{CANARY}";',
        f'const token = "{CANARY}";',
        f"PASSWORD={CANARY}",
        f'{{ "apiKey": "{BASE64}" }}',
        f"postgres://user:{CANARY}@host/db",
        f"https://x.example/?signature={CANARY}",
        f'fetch(u, {{ headers: {{ authorization: "Bearer {BASE64}" }} }})',
        f"https://hooks.slack.com/services/T0/B0/{CANARY}",
        f"-----BEGIN PRIVATE KEY-----\n{BASE64}\nshort\n-----END PRIVATE KEY-----",
        f"  {BASE64}",
        f"sk_live_{CANARY[-16:]}",
    ],
    ids=range(11),
)
def test_a_secret_beside_a_hit_is_not_in_the_report(line: str) -> None:
    secret = next((one for one in (CANARY, BASE64) if one in line), line)
    code = f'env.SETTINGS.get("master:1"); {line}\nenv.SETTINGS.get("master:2"); // {line}'
    report = search_sources(
        [("a.js", code), ("b.sh", f"# master:1\n{line}")], PATTERNS, commit="", at=datetime.now(UTC)
    )
    assert len(report.hits) >= 3
    assert secret.encode() not in dumps(report)
    assert secret[-20:].encode() not in dumps(report)


@pytest.mark.parametrize(
    "line",
    [
        "const tokenKey = `token:${userId}:${clinic.id}`;",
        'const apiKeyPrefix = "apikey:";',
        'const key = "apikey:" + user.id + ":meta";',
    ],
)
def test_the_template_of_a_key_stays_readable(line: str) -> None:
    assert redacted(line) == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("const token = `hunter${userId}two`;", "const token = `******${userId}***`;"),
        ("const tokenKey = `token:${userId}:v1`;", "const tokenKey = `token:${userId}***`;"),
        ("const token = `${hunter2}`;", "const token = `**********`;"),
        ('const token = "${abc}";', 'const token = "******";'),
        ('const token = "hunter:";', 'const token = "*******";'),
        ('const token = "token:a";', 'const token = "*******";'),
    ],
)
def test_what_may_be_a_value_in_a_template_stays_masked(line: str, shown: str) -> None:
    assert redacted(line) == shown


def test_a_mask_keeps_lengths_and_lines_and_leaves_code_alone() -> None:
    code = 'const KEY = "master:clinic:summary:all"; // src/masters/table-2024.ts\nawait env.SETTINGS.get(KEY);'
    assert redacted(code) == code
    assert redacted(f"a = '{CANARY}'\nb").count("\n") == 1
    assert len(redacted(f"token: '{CANARY}'")) == len(f"token: '{CANARY}'")
