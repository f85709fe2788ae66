"""What the contract suite runs against: a server, and clients whose every answer is checked."""

from dataclasses import dataclass, field

import httpx

from backups.bucket.r2 import R2Store
from kvops.cloudflare import Cloudflare, RequestBudget, Unlimited
from kvops.cloudflare._http import ApiClient
from kvops.cloudflare.writes import KVWriter
from tests.contract.openapi import Description

DESCRIPTION = Description()
UNKNOWN_TOKEN = "kvops" + "0" * 35
"""A token that nobody has, of the length of Cloudflare's: one of another length is a bad request."""


@dataclass(frozen=True)
class Target:
    """An account on a server that claims to speak Cloudflare's API."""

    base_url: str
    account_id: str
    read_token: str
    write_token: str
    namespace_id: str
    database_id: str
    bucket: str
    s3_endpoint: str
    s3_key: str
    s3_secret: str
    is_r2: bool = True
    """Whether the bucket lists unfinished uploads, enforces locks and tells the time, as wrangler's does not."""
    worker: str = ""
    project: str = ""
    commit: str = ""
    budget: RequestBudget = field(default_factory=Unlimited)

    def raw(self, token: str) -> httpx.Client:
        """A plain client; paths are relative to the account."""
        return httpx.Client(
            base_url=f"{self.base_url}/accounts/{self.account_id}",
            headers={"Authorization": f"Bearer {token}"},
            event_hooks={"request": [lambda _request: self.counted()], "response": [self.judged]},
            trust_env=False,
            timeout=30.0,
        )

    def reader(self, token: str = "") -> Cloudflare:
        """Our reading client."""
        return self._opened(Cloudflare, token or self.read_token)

    def writer(self, token: str = "") -> KVWriter:
        """Our writing client."""
        return self._opened(KVWriter, token or self.write_token)

    def store(self) -> R2Store:
        """Our client of the bucket."""
        store = R2Store(
            endpoint=self.s3_endpoint,
            bucket=self.bucket,
            access_key_id=self.s3_key,
            secret_access_key=self.s3_secret,
            allowed_hosts={httpx.URL(self.s3_endpoint).host},
            attempts=1,
        )
        store._client.meta.events.register("before-send.s3", lambda **_: self.counted())
        return store

    def counted(self) -> None:
        """Count a request that no client of ours counts."""
        self.budget.take()

    def judged(self, answer: httpx.Response) -> None:
        """Fail unless the answer is documented."""
        DESCRIPTION.check(answer)

    def settle(self, name: str) -> None:
        """Wait until a written name is seen."""

    def _opened[C: ApiClient](self, kind: type[C], token: str) -> C:
        client = kind(
            account_id=self.account_id,
            token=token,
            base_url=self.base_url,
            allowed_hosts={httpx.URL(self.base_url).host},
            budget=self.budget,
        )
        client._transport._client.event_hooks = {"response": [self.judged]}
        return client
