"""What the contract suite runs against: a server, and clients whose every answer is checked."""

from dataclasses import dataclass

import httpx

from kvops.cloudflare import Cloudflare, Unlimited
from kvops.cloudflare.writes import KVWriter
from tests.contract.openapi import Description

DESCRIPTION = Description()


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
    worker: str
    project: str
    commit: str

    def raw(self, token: str) -> httpx.Client:
        """A plain client; paths are relative to the account."""
        return httpx.Client(
            base_url=f"{self.base_url}/accounts/{self.account_id}",
            headers={"Authorization": f"Bearer {token}"},
            event_hooks={"response": [DESCRIPTION.check]},
            trust_env=False,
            timeout=30.0,
        )

    def reader(self, token: str = "") -> Cloudflare:
        """Our reading client."""
        client = Cloudflare(
            account_id=self.account_id,
            token=token or self.read_token,
            base_url=self.base_url,
            allowed_hosts={httpx.URL(self.base_url).host},
            budget=Unlimited(),
        )
        client._transport._client.event_hooks = {"response": [DESCRIPTION.check]}
        return client

    def writer(self, token: str = "") -> KVWriter:
        """Our writing client."""
        client = KVWriter(
            account_id=self.account_id,
            token=token or self.write_token,
            base_url=self.base_url,
            allowed_hosts={httpx.URL(self.base_url).host},
            budget=Unlimited(),
        )
        client._transport._client.event_hooks = {"response": [DESCRIPTION.check]}
        return client
