"""The sandbox answers as Cloudflare documents it, and the real wrangler believes it."""

import base64
import json
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import boto3
import httpx
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from backups.bucket.r2 import R2Store
from kvops.env import recipients
from sandbox import data, environment, postgres, seeding
from tests.sandbox_fixture import SandboxApi

ALL_BYTES = b"\xef\xbb\xbf" + bytes(range(256)) * 3
ODD_NAMES = ["a/b", "/a", "100%", "%2F", "q?", "#", "R&D", "c++", "two words", "日本語", "🎌", "..x", "__proto__", "1"]

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


def test_a_read_token_cannot_write(reader: httpx.Client, api: httpx.Client, keys: str) -> None:
    refused = reader.put(f"{keys}/bulk", json=[{"key": "never", "value": "x"}])
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, 10000)
    assert api.get(f"{keys}/values/never").status_code == 404


@pytest.mark.parametrize("sql", ["DELETE FROM t", "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a"])
def test_a_read_token_cannot_change_d1(sandbox_api: SandboxApi, reader: httpx.Client, sql: str) -> None:
    url = f"{sandbox_api.account_url(sandbox_api.qa)}/d1/database/{sandbox_api.qa.database_id}/query"
    assert reader.post(url, json={"sql": sql}).status_code == 403


def test_a_token_of_qa_sees_nothing_of_production(sandbox_api: SandboxApi, api: httpx.Client) -> None:
    url = sandbox_api.namespace_url(sandbox_api.production)
    assert api.get(f"{url}/keys").status_code == 403


def test_a_binary_value_comes_back_byte_for_byte(api: httpx.Client, keys: str) -> None:
    pair = {"key": "binary", "value": base64.b64encode(ALL_BYTES).decode(), "base64": True}
    assert api.put(f"{keys}/bulk", json=[pair]).json()["result"]["successful_key_count"] == 1
    assert api.get(f"{keys}/values/binary").content == ALL_BYTES


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_with_odd_characters_is_one_key_in_every_route(api: httpx.Client, keys: str, name: str) -> None:
    name = f"odd:{name}" if name.startswith("..") else name
    api.put(f"{keys}/bulk", json=[{"key": name, "value": f"of {name}", "metadata": {"名": name}}])
    assert api.get(f"{keys}/values/{quote(name, safe='')}").text == f"of {name}"
    many = api.post(f"{keys}/bulk/get", json={"keys": [name], "withMetadata": True}).json()["result"]["values"]
    assert many == {name: {"value": f"of {name}", "metadata": {"名": name}}}
    assert name in [key["name"] for key in api.get(f"{keys}/keys", params={"prefix": name}).json()["result"]]


@pytest.mark.parametrize("text", ['{"n":12345678901234567890,"x":1.0}', '"text"', "[1,null]", "0", "false", '{"a":-0}'])
def test_metadata_of_any_json_comes_back_as_it_was_written(api: httpx.Client, keys: str, text: str) -> None:
    api.put(f"{keys}/bulk", content=f'[{{"key":"meta","value":"x","metadata":{text}}}]')
    assert f'"result":{text}' in api.get(f"{keys}/metadata/meta").text
    assert f'"metadata":{text}' in api.get(f"{keys}/keys", params={"prefix": "meta"}).text


def test_a_listing_goes_on_by_cursor_until_it_is_empty(api: httpx.Client, keys: str) -> None:
    api.put(f"{keys}/bulk", json=[{"key": f"page:{n:02}", "value": ""} for n in range(25)])
    names, cursor = [], ""
    for _ in range(3):
        page = api.get(f"{keys}/keys", params={"prefix": "page:", "limit": 10, "cursor": cursor}).json()
        names += [key["name"] for key in page["result"]]
        cursor = page["result_info"]["cursor"]
    assert (names, cursor) == ([f"page:{n:02}" for n in range(25)], "")


def test_the_expiration_is_told_by_value_list_and_bulk_get(api: httpx.Client, keys: str) -> None:
    at = int(time.time()) + 3600
    api.put(f"{keys}/bulk", json=[{"key": "ends", "value": "x", "expiration": at}])
    assert api.get(f"{keys}/values/ends").headers["expiration"] == str(at)
    assert api.get(f"{keys}/keys", params={"prefix": "ends"}).json()["result"] == [{"name": "ends", "expiration": at}]
    many = api.post(f"{keys}/bulk/get", json={"keys": ["ends", "no such"], "withMetadata": True}).json()
    assert many["result"]["values"] == {"ends": {"value": "x", "metadata": None, "expiration": at}, "no such": None}


def test_more_than_25_mib_in_one_bulk_get_is_refused(api: httpx.Client, keys: str) -> None:
    for name in ("big:1", "big:2"):
        api.put(f"{keys}/values/{name}", content=b"x" * (13 * 2**20))
    assert api.post(f"{keys}/bulk/get", json={"keys": ["big:1", "big:2"]}).status_code == 413
    api.post(f"{keys}/bulk/delete", json=["big:1", "big:2"])


def test_every_answer_tells_the_rate_limit_and_a_request_id(api: httpx.Client, keys: str) -> None:
    headers = api.get(f"{keys}/values/missing").headers
    assert headers["ratelimit-policy"] == '"default";q=1200;w=300'
    assert headers["ratelimit"].startswith('"default";r=')
    assert headers["cf-ray"]


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


def test_r2_refuses_to_put_over_an_object_that_is_there(sandbox_api: SandboxApi) -> None:
    qa, key = sandbox_api.qa, "kv/master:/日本 %.json"
    s3 = boto3.client(
        "s3",
        endpoint_url=sandbox_api.s3_endpoint,
        region_name="auto",
        aws_access_key_id=qa.r2_key,
        aws_secret_access_key=qa.r2_secret,
        config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
    )
    with closing(s3):
        s3.put_object(Bucket=qa.bucket, Key=key, Body=b"first", IfNoneMatch="*")
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=qa.bucket, Key=key, Body=b"second", IfNoneMatch="*")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
        assert s3.get_object(Bucket=qa.bucket, Key=key)["Body"].read() == b"first"


def test_r2_lists_from_a_name_on(sandbox_api: SandboxApi) -> None:
    qa = sandbox_api.qa
    store = R2Store(
        endpoint=sandbox_api.s3_endpoint,
        bucket=qa.bucket,
        access_key_id=qa.r2_key,
        secret_access_key=qa.r2_secret,
        allowed_hosts=["127.0.0.1"],
    )
    with closing(store):
        put = [store.put(f"listed/{name}", name.encode()) for name in ("a", "b%2F", "日本 +&")]
        first = store.page("listed/", limit=2)
        rest = store.page("listed/", after=first.objects[-1].key, limit=2)
    found = [*first.objects, *rest.objects]
    assert [(one.key, one.size, one.etag) for one in found] == [(one.key, one.size, one.etag) for one in put]
    assert (len(first.objects), first.more, rest.more) == (2, True, False)


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
