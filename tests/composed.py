"""The services behind the processes of a composition, and the files that it is set up with."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeMail

DEPLOY = Path(__file__).parent.parent / "deploy"
EXAMPLE = (DEPLOY / "environments.example.toml").read_text("utf-8")
MASTERS = "CREATE TABLE masters (type TEXT, id TEXT, name TEXT, updated_at TEXT, PRIMARY KEY (type, id));"
NAMES = ("master:a:1", "master:a:2", "master:b:1")


class Outside:
    """Cloudflare with the accounts of `deploy/environments.example.toml`, their buckets, Slack and a mail server."""

    def __init__(self, stack: ExitStack) -> None:
        self.environments = {one["slug"]: one for one in tomllib.loads(EXAMPLE)["environment"]}
        self.cloudflare = stack.enter_context(FakeCloudflare())
        self.slack, self.mail = stack.enter_context(FakeSlack()), stack.enter_context(FakeMail())
        self.buckets = {
            slug: stack.enter_context(FakeS3(one["r2"]["bucket"])) for slug, one in self.environments.items()
        }
        for slug, one in self.environments.items():
            self._account(slug, one["account_id"], one["kv"], one["d1"][0]["database_id"])

    def _account(self, slug: str, account: str, kv: list[dict[str, str]], database_id: str) -> None:
        for permission in ("read", "write"):
            self.cloudflare.add_token(f"{slug}-{permission}-token", account=account, permission=permission)
        for one in kv:
            self.cloudflare.add_namespace(account, one["namespace_id"], f"{slug}-{one['binding']}")
        self.cloudflare.add_bucket(account, self.buckets[slug].bucket, locked="backups/")
        database = self.cloudflare.add_database(account, database_id, "masters", MASTERS)
        for type_, id_ in (name.split(":")[1:] for name in NAMES):
            row = {"type": type_, "id": id_, "name": f"No. {id_}"}
            self.cloudflare.put(kv[0]["namespace_id"], f"master:{type_}:{id_}", json.dumps(row).encode())
            database.execute("INSERT INTO masters (type, id, name) VALUES (:type, :id, :name)", row)
        database.commit()

    def left(self, slug: str) -> list[str]:
        """The names that KV of an environment has."""
        namespace = self.cloudflare.namespace(self.environments[slug]["kv"][0]["namespace_id"])
        return [item.name for item in namespace.walk("", None)]

    @property
    def secrets(self) -> Mapping[str, str]:
        """The files that the references of the example name."""
        found = {f"{slug}_slack_webhook": self.slack.webhook for slug in self.environments}
        for slug, bucket in self.buckets.items():
            found |= {f"{slug}_{name}_token": f"{slug}-{name}-token" for name in ("read", "write")}
            found |= {f"{slug}_r2_key": bucket.access_key_id, f"{slug}_r2_secret": bucket.secret_access_key}
        return found

    @property
    def settings(self) -> Mapping[str, str]:
        """Settings in place of those of `deploy/compose.env`."""
        loopback = dict.fromkeys(["KVOPS_ALLOWED_API_HOSTS", "KVOPS_ALLOWED_WEBHOOK_HOSTS"], "127.0.0.1")
        mail = {**self.mail.settings, "SMTP_TLS": "0", "SMTP_USER": ""}
        return {**loopback, **mail, "KVOPS_TESTING": "1", "KVOPS_TIME_SCALE": "0.02"}

    def fill(self, config: Path, secrets: Path) -> None:
        """Write `config/` from the examples, with the addresses of the fakes, and without hours of a working day."""
        text = re.sub(r"(?m)^(hours|days|api_base_url) = .*\n", "", EXAMPLE).replace("/run/secrets", str(secrets))
        text = re.sub(r"(?m)^read_token", f'api_base_url = "{self.cloudflare.base_url}"\nread_token', text)
        for slug, bucket in self.buckets.items():
            text = text.replace(self.environments[slug]["r2"]["endpoint"], bucket.endpoint)
        (config / "environments.toml").write_text(text)
        (config / "policy.toml").write_text((DEPLOY / "policy.example.toml").read_text("utf-8"))


@contextmanager
def outside() -> Iterator[Outside]:
    """The services that a composition is given."""
    with ExitStack() as stack:
        yield Outside(stack)
