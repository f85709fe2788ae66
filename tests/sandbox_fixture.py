"""Cloudflare's own runtime for tests, empty: one process for the whole test session."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import environment, node
from sandbox.environment import SandboxAccount
from sandbox.processes import Supervisor, remembered_port


@dataclass(frozen=True, slots=True)
class SandboxApi:
    """Where the runtime listens, and what the two accounts are called."""

    base_url: str
    s3_endpoint: str
    qa: SandboxAccount
    production: SandboxAccount
    wrangler: tuple[str, ...]
    wrangler_env: dict[str, str]

    def account_url(self, account: SandboxAccount) -> str:
        """The base of an account's routes."""
        return f"{self.base_url}/accounts/{account.account_id}"

    def namespace_url(self, account: SandboxAccount) -> str:
        """The base of the routes of an account's SETTINGS."""
        return f"{self.account_url(account)}/storage/kv/namespaces/{account.namespace_id}"

    def wrangler_for(self, account: SandboxAccount) -> dict[str, str]:
        """The environment in which the real wrangler works on an account of this runtime."""
        return self.wrangler_env | {
            "CLOUDFLARE_API_BASE_URL": self.base_url,
            "CLOUDFLARE_API_TOKEN": account.write_token,
            "CLOUDFLARE_ACCOUNT_ID": account.account_id,
        }


@pytest.fixture(scope="session")
def sandbox_api() -> Iterator[SandboxApi]:
    """The runtime on a free port, with nothing in KV, D1 and R2 when the session starts."""
    # Not pytest's tmp_path_factory: that keeps the last three runs' folders.
    with tempfile.TemporaryDirectory(prefix="kvops-") as name, Supervisor(Path(name) / "logs") as supervisor:
        folder = Path(name)
        runtime = node.install(supervisor)
        port = remembered_port(folder / "port")
        base_url = node.start(supervisor, runtime, folder, port)
        qa, production = environment.accounts()
        yield SandboxApi(
            base_url=base_url,
            s3_endpoint=environment.Ports(web=0, cloudflare=port).s3_endpoint,
            qa=qa,
            production=production,
            wrangler=(str(runtime.node), str(node.wrangler())),
            wrangler_env=node.quiet_environment(folder),
        )
