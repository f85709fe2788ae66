"""`environments.toml` for the tests: QA and production on one fake, as text that can be altered."""

import os

from tests import make
from tests.fakes.cloudflare import FakeCloudflare


def text(cloudflare: FakeCloudflare) -> str:
    """A definition that keeps every rule; the tokens are in this process's environment variables."""
    return "\n".join(_environment(slug, cloudflare) for slug in ("qa", "production"))


def _environment(slug: str, cloudflare: FakeCloudflare) -> str:
    prefix, account = slug.upper(), make.ACCOUNTS[slug]
    os.environ[f"{prefix}_READ"] = f"{slug}-read-token"
    cloudflare.add_token(f"{slug}-read-token", account=account, permission="read")
    cloudflare.add_namespace(account, make.NAMESPACES[slug], f"{slug}-settings")
    cloudflare.add_database(account, make.DATABASES[slug], "masters")
    return f"""\
[[environment]]
slug = "{slug}"
name = "{slug.title()}"
order = {1 if slug == "qa" else 2}
production = {str(slug == "production").lower()}
account_id = "{account}"
read_token = "env:{prefix}_READ"
write_token = "env:{prefix}_WRITE"
api_base_url = "{cloudflare.base_url}"
[[environment.kv]]
binding = "SETTINGS"
namespace_id = "{make.NAMESPACES[slug]}"
[[environment.d1]]
binding = "MASTERS_D1"
database_id = "{make.DATABASES[slug]}"
[environment.r2]
endpoint = "https://{slug}.r2.cloudflarestorage.com"
bucket = "{slug}-media"
access_key_id = "env:{prefix}_R2_KEY"
secret_access_key = "env:{prefix}_R2_SECRET"
"""
