"""The sandbox's two accounts as `worker/wrangler.toml` has them, and the settings the product gets from them."""

import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyrage import x25519

from sandbox.node import API, WORKER
from sandbox.processes import remembered_port

ROOT = Path(__file__).parent.parent
CODE = Path(__file__).parent / "code"
"""The sample team's repository: what the accounts say is deployed."""
FOLDER = ROOT / ".sandbox"
S3_PATH = "/cdn-cgi/local/r2/s3"
WEB_PORT = 8000
PEOPLE = {
    "operator@example.com": ("operator", "first-copy-then-delete"),
    "operator2@example.com": ("operator", "another-pair-of-hands"),
    "reviewer@example.com": ("reviewer", "second-pair-of-eyes"),
    "auditor@example.com": ("auditor", "nobody-edited-this-log"),
}
"""The people who can sign in: e-mail, role and password."""


@dataclass(frozen=True, slots=True)
class SandboxAccount:
    """One environment's Cloudflare account: ids, tokens, and the names of its stores."""

    slug: str
    name: str
    order: int
    production: bool
    prefix: str
    account_id: str
    read_token: str
    write_token: str
    namespace_id: str
    scratch_id: str
    namespace_title: str
    database_id: str
    bucket: str
    r2_key: str
    r2_secret: str
    worker: str
    project: str


@cache
def accounts() -> tuple[SandboxAccount, ...]:
    """QA and production, in the order of clean-up."""
    config: dict[str, Any] = tomllib.loads((WORKER / "wrangler.toml").read_text("utf-8"))
    keys = {bucket["binding"]: bucket["local_dev"]["experimental_s3_credentials"] for bucket in config["r2_buckets"]}
    return tuple(
        SandboxAccount(
            slug=entry["slug"],
            name=entry["name"],
            order=entry["order"],
            production=entry["production"],
            prefix=entry["prefix"],
            account_id=entry["account_id"],
            read_token=entry["read_token"],
            write_token=entry["write_token"],
            namespace_id=entry["kv"][0]["id"],
            scratch_id=entry["kv"][1]["id"],
            namespace_title=entry["kv"][0]["title"],
            database_id=entry["d1"][0]["id"],
            bucket=entry["r2"][0]["name"],
            r2_key=keys[entry["r2"][0]["binding"]]["accessKeyId"],
            r2_secret=keys[entry["r2"][0]["binding"]]["secretAccessKey"],
            worker=entry["worker"],
            project=entry["project"],
        )
        for entry in config["vars"]["ENVIRONMENTS"]
    )


def _var(name: str) -> str:
    config: dict[str, Any] = tomllib.loads((WORKER / "wrangler.toml").read_text("utf-8"))
    return str(config["vars"][name])


CODE_COMMIT = _var("CODE_COMMIT")
"""The made-up commit of `sandbox/code` that is deployed in both accounts."""


def team_token() -> str:
    """The token for the team's own API of master data."""
    return _var("TEAM_API_TOKEN")


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports of the web server and of the Cloudflare runtime."""

    web: int
    cloudflare: int

    @property
    def web_url(self) -> str:
        """The address people open."""
        return f"http://localhost:{self.web}"

    @property
    def api_base_url(self) -> str:
        """The base URL of Cloudflare's API, for the product and wrangler."""
        return f"http://127.0.0.1:{self.cloudflare}{API}"

    @property
    def team_url(self) -> str:
        """The team's own API. `/<environment>/masters.json` lies below it."""
        return f"http://127.0.0.1:{self.cloudflare}/team"

    @property
    def s3_endpoint(self) -> str:
        """R2's S3 endpoint."""
        return f"http://127.0.0.1:{self.cloudflare}{S3_PATH}"


def ports(folder: Path, web: int = 0) -> Ports:
    """The web server's port and the runtime's, which stays the same: the product's environments hold it."""
    return Ports(web=web, cloudflare=remembered_port(folder / "ports" / "cloudflare", for_good=True))


def filling(folder: Path) -> Path:
    """The file that exists while sample data arrives."""
    return folder / "filling"


def environ(folder: Path, ports: Ports, database_url: str) -> dict[str, str]:
    """All settings of the product for the sandbox, added to the environment variables of this process."""
    references = {
        f"{account.prefix}_{name}": value
        for account in accounts()
        for name, value in {
            "KV_READ_TOKEN": account.read_token,
            "KV_WRITE_TOKEN": account.write_token,
            "R2_KEY": account.r2_key,
            "R2_SECRET": account.r2_secret,
        }.items()
    }
    _secret(folder / "digest_key")
    operations, offline = (_identity(folder / "age" / f"{name}.txt") for name in ("operations", "offline"))
    _identity(folder / "age" / "review.txt")
    return {
        **os.environ,
        **references,
        "KVOPS_AGE_RECIPIENTS": f"{operations.to_public()},{offline.to_public()}",
        "KVOPS_AGE_IDENTITY": f"file:{folder / 'age' / 'operations.txt'}",
        "KVOPS_DIGEST_KEY": f"file:{folder / 'digest_key'}",
        "KVOPS_REVIEW_IDENTITY": f"file:{folder / 'age' / 'review.txt'}",
        "DJANGO_SETTINGS_MODULE": "kvops.settings",
        "KVOPS_SANDBOX": "1",
        "KVOPS_SANDBOX_FILLING": str(filling(folder)),
        "KVOPS_TIME_SCALE": os.environ.get("KVOPS_TIME_SCALE", "0.1"),
        "KVOPS_ALLOWED_API_HOSTS": "127.0.0.1",
        "KVOPS_MASTERS_API_HOSTS": "127.0.0.1",
        "KVOPS_MASTERS_API_TOKEN": "env:TEAM_API_TOKEN",
        "TEAM_API_TOKEN": team_token(),
        "TEAM_API": ports.team_url,
        "KVOPS_BASE_URL": ports.web_url,
        "KVOPS_STATIC_ROOT": str(folder / "static"),
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "DATABASE_URL": database_url,
        "SECRET_KEY": _secret(folder / "secret_key"),
    }


def for_web(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings for the web server. It refuses to start with keys that decrypt backups or tokens that can delete."""
    worker = ("KVOPS_AGE_IDENTITY", "KVOPS_DIGEST_KEY", *(f"{account.prefix}_KV_WRITE_TOKEN" for account in accounts()))
    return {name: value for name, value in environ.items() if name not in worker}


def for_worker(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings for the worker, which refuses to start with the identity that opens proposals."""
    return {name: value for name, value in environ.items() if name != "KVOPS_REVIEW_IDENTITY"}


def role_url(folder: Path, owner_url: str, role: str) -> str:
    """The same database as a role that owns nothing: `app` for worker and sweep, `web`, or `verifier`."""
    parts = urlsplit(owner_url)
    name, place = parts.path.strip("/"), parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{name}_{role}:{_secret(folder / f'{role}_password')}@{place}").geturl()


def environments_toml(ports: Ports) -> str:
    """The text of `environments.toml` for the two accounts."""
    return "\n".join(_environment_toml(account, ports) for account in accounts())


def for_an_installation(environments: Path) -> str:
    """The lines that an installation of KVOps on this machine needs to use these accounts (docs/install.md)."""
    both = [
        f"{account.prefix}_{name}={value}"
        for account in accounts()
        for name, value in (("KV_READ_TOKEN", account.read_token), ("R2_KEY", account.r2_key))
    ]
    both += [f"{account.prefix}_R2_SECRET={account.r2_secret}" for account in accounts()]
    writes = [f"{account.prefix}_KV_WRITE_TOKEN={account.write_token}" for account in accounts()]
    return "\n".join(
        (
            "\nCloudflare's runtime serves QA and production. These lines are for kvops.env:\n",
            "KVOPS_ALLOWED_API_HOSTS=127.0.0.1",
            *both,
            "\nThese are for worker.env:\n",
            *writes,
            f"\nEnvironments: {environments}\nPolicy: {ROOT / 'sandbox' / 'policy.toml'}\n",
        )
    )


def _environment_toml(account: SandboxAccount, ports: Ports) -> str:
    return f"""\
[[environment]]
slug = "{account.slug}"
name = "{account.name}"
order = {account.order}
production = {str(account.production).lower()}
account_id = "{account.account_id}"
read_token = "env:{account.prefix}_KV_READ_TOKEN"
write_token = "env:{account.prefix}_KV_WRITE_TOKEN"
api_base_url = "{ports.api_base_url}"
[[environment.kv]]
binding = "SETTINGS"
namespace_id = "{account.namespace_id}"
[[environment.kv]]
binding = "DRILLS"
namespace_id = "{account.scratch_id}"
scratch = true
[[environment.d1]]
binding = "MASTERS_D1"
database_id = "{account.database_id}"
[environment.r2]
endpoint = "{ports.s3_endpoint}"
bucket = "{account.bucket}"
access_key_id = "env:{account.prefix}_R2_KEY"
secret_access_key = "env:{account.prefix}_R2_SECRET"
"""


def _identity(memory: Path) -> x25519.Identity:
    """An identity in a file in the format of age-keygen, created at the first call."""
    if not memory.exists():
        memory.parent.mkdir(mode=0o700, exist_ok=True)
        memory.touch(mode=0o600)
        made = x25519.Identity.generate()
        memory.write_text(f"# public key: {made.to_public()}\n{made}\n")
    return x25519.Identity.from_str(memory.read_text().splitlines()[-1])


def _secret(memory: Path) -> str:
    """Random characters in a file, created at the first call."""
    if not memory.exists():
        memory.touch(mode=0o600)
        memory.write_text(secrets.token_urlsafe(64))
    return memory.read_text()
