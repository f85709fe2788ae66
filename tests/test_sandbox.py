"""The sandbox answers as Cloudflare documents it, and the real wrangler believes it."""

import base64
import json
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from kvops.env import recipients
from sandbox import data, environment, postgres, seeding
from tests.sandbox_fixture import SandboxApi

ALL_BYTES = b"\xef\xbb\xbf" + bytes(range(256)) * 3
pytestmark = pytest.mark.sandbox


def client(token: str) -> httpx.Client:
    return httpx.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60.0)


@pytest.fixture
def keys(sandbox_api: SandboxApi) -> str:
    return sandbox_api.namespace_url(sandbox_api.qa)


@pytest.fixture
def api(sandbox_api: SandboxApi) -> Iterator[httpx.Client]:
    with client(sandbox_api.qa.write_token) as writer:
        yield writer


@pytest.fixture
def reader(sandbox_api: SandboxApi) -> Iterator[httpx.Client]:
    with client(sandbox_api.qa.read_token) as reader:
        yield reader


type Wrangler = Callable[..., bytes]


@pytest.fixture
def wrangler(sandbox_api: SandboxApi, tmp_path: Path) -> Wrangler:
    def run(*arguments: str) -> bytes:
        argv = [*sandbox_api.wrangler, *arguments, "--namespace-id", sandbox_api.qa.namespace_id, "--remote"]
        env = sandbox_api.wrangler_for(sandbox_api.qa)
        done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        return done.stdout

    return run


@pytest.mark.parametrize("sql", ["DELETE FROM t", "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a"])
def test_a_read_token_cannot_change_d1(sandbox_api: SandboxApi, reader: httpx.Client, sql: str) -> None:
    url = f"{sandbox_api.account_url(sandbox_api.qa)}/d1/database/{sandbox_api.qa.database_id}/query"
    assert reader.post(url, json={"sql": sql}).status_code == 403


def test_a_token_of_qa_sees_nothing_of_production(sandbox_api: SandboxApi, api: httpx.Client) -> None:
    url = sandbox_api.namespace_url(sandbox_api.production)
    assert api.get(f"{url}/keys").status_code == 403


def test_d1_raw_keeps_columns_of_one_name_apart(sandbox_api: SandboxApi, api: httpx.Client) -> None:
    url = f"{sandbox_api.account_url(sandbox_api.qa)}/d1/database/{sandbox_api.qa.database_id}/raw"
    answer = api.post(url, json={"sql": "SELECT 1 AS a, ? AS a", "params": ["x"]}).json()["result"][0]
    assert answer["results"] == {"columns": ["a", "a"], "rows": [[1, "x"]]}
    assert answer["meta"]["rows_read"] == 0


def test_real_wrangler_writes_lists_reads_and_deletes_here(
    wrangler: Wrangler, tmp_path: Path, api: httpx.Client, keys: str
) -> None:
    name = "wrangler:a/b 100% ?#&+🎌"
    pair = {"key": name, "value": base64.b64encode(ALL_BYTES).decode(), "base64": True, "metadata": {"n": 1}}
    (tmp_path / "put.json").write_text(json.dumps([pair]))
    (tmp_path / "names.json").write_text(json.dumps([name]))
    wrangler("kv", "bulk", "put", "put.json")
    assert json.loads(wrangler("kv", "key", "list", "--prefix", "wrangler:")) == [{"name": name, "metadata": {"n": 1}}]
    assert wrangler("kv", "key", "get", name) == ALL_BYTES
    wrangler("kv", "bulk", "delete", "names.json", "--force")
    assert api.get(f"{keys}/keys", params={"prefix": "wrangler:"}).json()["result"] == []


def test_the_teams_own_api_gives_the_rows_of_d1(sandbox_api: SandboxApi) -> None:
    with seeding._Api(sandbox_api.qa, sandbox_api.base_url) as api:
        for table in data.tables(sandbox_api.qa):
            api.fill(table)
    url = f"{sandbox_api.s3_endpoint.removesuffix(environment.S3_PATH)}/team/qa/masters.json"
    assert httpx.get(url, trust_env=False, timeout=60).status_code == 401
    with client(environment.team_token()) as team:
        rows = team.get(url).json()
    assert {name: len(found) for name, found in rows.items()} == {
        table.name: len(table.rows) for table in data.tables(sandbox_api.qa)
    }
    assert sorted(rows["facilities"][0]) == ["clinicId", "id", "kind", "name"]


def test_the_sample_estate_has_5000_keys_and_production_three_differences_in_clinics() -> None:
    qa, production = environment.accounts()
    names = [entry.key for entry in [*data.master_entries(), *data.other_entries(production)]]
    assert len(set(names)) == len(names) >= 5000
    [in_qa, in_production] = [
        {str(row): row["id"] for table in data.tables(account) if table.name == "clinics" for row in table.rows}
        for account in (qa, production)
    ]
    differing = {
        identity for row, identity in {**in_qa, **in_production}.items() if (row in in_qa) != (row in in_production)
    }
    assert differing == {data.MISSING_IN_D1, data.DIFFERING, data.ONLY_IN_D1}


def test_the_environments_of_the_sandbox_name_secrets_by_reference_only() -> None:
    text = environment.environments_toml(environment.Ports(web=8000, cloudflare=8787))
    assert [entry["slug"] for entry in tomllib.loads(text)["environment"]] == ["qa", "production"]
    for account in environment.accounts():
        assert not [secret for secret in (account.read_token, account.write_token, account.r2_secret) if secret in text]


def test_the_web_server_of_the_sandbox_has_nothing_that_opens_backups_or_deletes(tmp_path: Path) -> None:
    whole = environment.environ(tmp_path, environment.Ports(web=8000, cloudflare=8787), "postgres://somewhere/kvops")
    again = environment.environ(tmp_path, environment.Ports(web=8000, cloudflare=8787), "postgres://somewhere/kvops")
    assert whole == again
    assert len(recipients("R", {"R": whole["KVOPS_AGE_RECIPIENTS"]})) == 2
    kept = environment.for_web(whole)
    assert whole.keys() - kept.keys() == {
        *("KVOPS_AGE_IDENTITY", "KVOPS_DIGEST_KEY"),
        *("QA_KV_WRITE_TOKEN", "PROD_KV_WRITE_TOKEN"),
    }
    assert whole.keys() - environment.for_worker(whole).keys() == {"KVOPS_REVIEW_IDENTITY"}


def test_a_database_keeps_its_password_and_data_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with postgres.running(tmp_path, durable=False) as first, psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    with postgres.running(tmp_path, durable=False) as second, psycopg.connect(second) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert first.partition("@")[0] == second.partition("@")[0]
