"""The same tests on the fake, on Cloudflare's own runtime and, by `make contract`, on a real account."""

import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import httpx
import pytest

from kvops.cloudflare import Cloudflare, KvEntry
from kvops.cloudflare.writes import KVWriter
from sandbox import environment
from tests.contract import account
from tests.contract.target import Target
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.code import FakeAudited
from tests.fakes.s3 import FakeS3
from tests.sandbox_fixture import SandboxApi

type Seed = Callable[..., None]


@pytest.fixture(scope="session")
def fake_target() -> Iterator[Target]:
    """The scripted fake."""
    owner = "c" * 32
    with FakeCloudflare() as fake, FakeS3("contract") as s3:
        s3.keep("backups/")
        fake.add_token("contract-read", account=owner, permission="read")
        fake.add_token("contract-write", account=owner, permission="write")
        fake.add_namespace(owner, "3" * 32, "contract")
        fake.add_bucket(owner, "contract", locked="backups/")
        fake.add_database(owner, "00000000-0000-4000-8000-000000000003", "contract")
        code = fake.code(owner)
        code.worker("contract-api", {"SETTINGS": "3" * 32}, "env.SETTINGS.get('k')", commit="c" * 40)
        uri = f"/client/v4/accounts/{owner}/storage/kv/namespaces/{'3' * 32}/values/master%3Aarea%3A99"
        actor = {"type": "user", "context": "oauth", "email": "somebody@example.com", "ip_address": "192.0.2.7"}
        code.audited.append(FakeAudited(time.time() - 3600, "DELETE", uri, actor))
        code.project("contract-site", {"SETTINGS": "3" * 32}, "c" * 40).preview_kv = {"SETTINGS": "3" * 32}
        yield Target(
            base_url=fake.base_url,
            account_id=owner,
            read_token="contract-read",
            write_token="contract-write",
            namespace_id="3" * 32,
            database_id="00000000-0000-4000-8000-000000000003",
            bucket="contract",
            s3_endpoint=s3.endpoint,
            s3_key=s3.access_key_id,
            s3_secret=s3.secret_access_key,
            worker="contract-api",
            project="contract-site",
            commit="c" * 40,
        )


@pytest.fixture(scope="session")
def sandbox_target(sandbox_api: SandboxApi) -> Target:
    """Cloudflare's runtime behind the sandbox's Worker."""
    return Target(
        base_url=sandbox_api.base_url,
        account_id=sandbox_api.qa.account_id,
        read_token=sandbox_api.qa.read_token,
        write_token=sandbox_api.qa.write_token,
        namespace_id=sandbox_api.qa.namespace_id,
        database_id=sandbox_api.qa.database_id,
        bucket=sandbox_api.qa.bucket,
        s3_endpoint=sandbox_api.s3_endpoint,
        s3_key=sandbox_api.qa.r2_key,
        s3_secret=sandbox_api.qa.r2_secret,
        is_r2=False,
        worker=sandbox_api.qa.worker,
        project=sandbox_api.qa.project,
        commit=environment.CODE_COMMIT,
    )


@pytest.fixture(scope="session")
def cloudflare_target() -> Target | None:
    """The scratch namespace, bucket and database of a real account."""
    return account.chosen


SERVERS = ["fake_target", pytest.param("sandbox_target", marks=pytest.mark.sandbox)]


@pytest.fixture(params=["cloudflare_target"] if account.chosen else SERVERS)
def target(request: pytest.FixtureRequest) -> Target:
    """Each server in turn."""
    found: Target = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def furnished(target: Target) -> None:
    """Only where the account has more than an empty namespace, bucket and database."""
    if not target.worker:
        pytest.skip("asks for what an empty account has not")


@pytest.fixture
def ns(target: Target) -> str:
    """The namespace's id."""
    return target.namespace_id


@pytest.fixture
def keys(target: Target) -> str:
    """The namespace's path below the account."""
    return f"/storage/kv/namespaces/{target.namespace_id}"


@pytest.fixture
def prefix() -> str:
    """A prefix that is this test's alone."""
    return f"contract:{uuid4().hex[:12]}:"


@pytest.fixture
def api(target: Target) -> Iterator[httpx.Client]:
    """A plain client with the write token."""
    with target.raw(target.write_token) as client:
        yield client


@pytest.fixture
def cf(target: Target) -> Iterator[Cloudflare]:
    """Our reading client with the read token."""
    with target.reader() as client:
        yield client


@pytest.fixture
def kv(target: Target) -> Iterator[KVWriter]:
    """Our writing client with the write token."""
    with target.writer() as client:
        yield client


@pytest.fixture
def seed(kv: KVWriter, ns: str) -> Seed:
    """Write one key through the documented bulk route."""

    def put(name: str, data: bytes = b"v", expiration: int | None = None, metadata: str | None = None) -> None:
        assert kv.bulk_put(ns, [KvEntry(name, data, expiration, metadata)]).successful_count == 1

    return put
