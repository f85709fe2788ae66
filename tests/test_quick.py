"""The quick fake of the benches answers as the fake of the tests does; otherwise its ratios would mean nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from bench.fakes import ACCOUNT, NAMESPACE, PREFIX, READ_TOKEN, SEED, VALUE_SIZE
from bench.place import ROOT
from tests.fakes.cloudflare import FakeCloudflare

KEYS = 2_500
URL = f"/accounts/{ACCOUNT}/storage/kv/namespaces/{NAMESPACE}"


@pytest.fixture
def both() -> Iterator[list[httpx.Client]]:
    """A client of each, on namespaces of equal keys."""
    command = [sys.executable, "-m", "bench.quick", str(KEYS), "0"]
    with (
        FakeCloudflare() as fake,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as quick,
    ):
        fake.add_token(READ_TOKEN, account=ACCOUNT, permission="write")
        more = {"count": KEYS, "seed": SEED, "prefix": PREFIX, "value_size": VALUE_SIZE}
        fake.add_derived(ACCOUNT, NAMESPACE, "bench-settings", **more)  # type: ignore[arg-type]
        fake.add_bucket(ACCOUNT, "backups").lifecycle.clear()
        fake.bucket(ACCOUNT, "backups").lock("backups/", days=30)
        assert quick.stdin
        assert quick.stdout
        quick.stdin.write("where\n")
        quick.stdin.flush()
        urls = [fake.base_url, json.loads(quick.stdout.readline())["BENCH_API"]]
        headers = {"Authorization": f"Bearer {READ_TOKEN}"}
        clients = [httpx.Client(base_url=url, headers=headers, trust_env=False) for url in urls]
        yield clients
        for client in clients:
            client.close()
        quick.stdin.close()


def listed(client: httpx.Client) -> list[list[dict[str, object]]]:
    """The pages of the namespace."""
    pages, cursor = [], ""
    while True:
        query = {"limit": "1000", "prefix": PREFIX, **({"cursor": cursor} if cursor else {})}
        page = client.get(f"{URL}/keys", params=query).json()
        pages.append(page["result"])
        cursor = page["result_info"]["cursor"]
        if not cursor:
            return pages


def test_both_fakes_tell_the_same_protection_of_the_bucket(both: list[httpx.Client]) -> None:
    for guard in "lock", "lifecycle", "domains/custom":
        answers = [client.get(f"/accounts/{ACCOUNT}/r2/buckets/backups/{guard}").json() for client in both]
        assert answers[0] == answers[1]
    managed = [client.get(f"/accounts/{ACCOUNT}/r2/buckets/backups/domains/managed").json() for client in both]
    assert [one["result"].keys() for one in managed] == [{"bucketId", "domain", "enabled"}] * 2


def test_both_fakes_list_and_read_and_delete_alike(both: list[httpx.Client]) -> None:
    names = [f"{PREFIX}{index:08d}" for index in (0, 1, 999, 1_000, 2_499)]
    read = {"keys": [*names, "master:none"], "type": "text", "withMetadata": True}
    for ask in (
        lambda client: client.get(URL).json(),
        lambda client: client.get(f"{URL}/keys").json()["result"],
        listed,
        lambda client: client.post(f"{URL}/bulk/get", json=read).json(),
        lambda client: client.get(f"{URL}/values/{names[0]}").content,
        lambda client: client.get(f"{URL}/metadata/{names[0]}").json(),
        lambda client: client.post(f"{URL}/bulk/delete", json=names).json(),
        lambda client: client.post(f"{URL}/bulk/get", json=read).json(),
        listed,
    ):
        answers = [ask(client) for client in both]
        assert answers[0] == answers[1]
