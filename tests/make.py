"""The estate the tests work on: fixed people, QA and production on a fake Cloudflare and a fake bucket."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from allauth.account.models import EmailAddress
from django.db import connection
from django.db.models.functions import Now
from django.db.transaction import atomic
from django_q.models import OrmQ

from audit import log
from backups import policy as key_policy
from backups.integrity import start as check_start
from backups.models import Check, Dataset, Generation
from kvops.approvals import prepared_changes
from kvops.models import (
    ApprovalRequest,
    BudgetSpend,
    Category,
    Database,
    Environment,
    Family,
    Namespace,
    Person,
    PolicyVersion,
    PreparedChange,
    Role,
    RoleGrant,
    Run,
    Scratch,
    User,
)
from kvops.runs import driver as run_driver
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3
from tests.prepared import step

PASSWORD = "correct-horse-battery"
SETUP = log.Actor.system("tests")
ACCOUNTS = {"qa": "a" * 32, "production": "b" * 32}
NAMESPACES = {"qa": "1" * 32, "production": "2" * 32}
SCRATCHES = {"qa": "3" * 32, "production": "4" * 32}
DATABASES = {"qa": "00000000-0000-4000-8000-000000000001", "production": "00000000-0000-4000-8000-000000000002"}


def person(name: str, *roles: Role) -> Person:
    """A person with a login and roles: `operator` is operator@example.com."""
    email = f"{name}@example.com"
    found = Person.objects.create(name=name.title(), email=email)
    user = User.objects.create_login(found, PASSWORD)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    for role in roles:
        grant(found, role)
    return found


@contextmanager
def past_the_triggers() -> Iterator[None]:
    """What only the owner of the database can do."""
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield
        cursor.execute("SET LOCAL session_replication_role = origin")


def grant(person: Person, role: Role) -> None:
    """The person has a role, without a request that asked for it."""
    with past_the_triggers():
        RoleGrant.objects.create(person=person, role=role, granted_by="tests")


def revoke(person: Person, role: Role) -> None:
    """The person has the role no longer, without a request that asked for it."""
    with past_the_triggers():
        held = RoleGrant.objects.filter(person=person, role=role, revoked_at=None)
        held.update(revoked_at=Now(), revoked_by="tests")


def deactivate(*people: Person) -> None:
    """The people cannot sign in any more, without a request that asked for it."""
    with past_the_triggers():
        User.objects.filter(person__in=people).update(is_active=False)


@dataclass(frozen=True)
class People:
    """The same people in every test."""

    operator: Person
    operator2: Person
    reviewer: Person
    auditor: Person
    nobody: Person


def everybody() -> People:
    """An operator, a second operator, a reviewer, an auditor, and somebody with no role."""
    return People(
        operator=person("operator", Role.OPERATOR),
        operator2=person("operator2", Role.OPERATOR),
        reviewer=person("reviewer", Role.REVIEWER),
        auditor=person("auditor", Role.AUDITOR),
        nobody=person("nobody"),
    )


@dataclass(frozen=True)
class Estate:
    """QA and production, with the services behind them."""

    cloudflare: FakeCloudflare
    s3: FakeS3
    qa: Namespace
    production: Namespace

    def put(self, namespace: Namespace, name: str, data: bytes = b"{}", **more: object) -> None:
        """Write a key into the fake, past the product."""
        self.cloudflare.put(namespace.namespace_id, name, data, **more)  # type: ignore[arg-type]


def environment(slug: str, cloudflare: FakeCloudflare, s3: FakeS3) -> Environment:
    """An environment whose tokens are in the process's environment variables."""
    prefix = slug.upper()
    os.environ[f"{prefix}_READ"] = f"{slug}-read-token"
    os.environ[f"{prefix}_WRITE"] = f"{slug}-write-token"
    os.environ["TEST_R2_KEY"] = s3.access_key_id
    os.environ["TEST_R2_SECRET"] = s3.secret_access_key
    return Environment.objects.create(
        slug=slug,
        name="QA" if slug == "qa" else "Production",
        order=1 if slug == "qa" else 2,
        production=slug == "production",
        account_id=ACCOUNTS[slug],
        read_token=f"env:{prefix}_READ",
        write_token=f"env:{prefix}_WRITE",
        api_base_url=cloudflare.base_url,
        r2_endpoint=s3.endpoint,
        r2_bucket=s3.bucket,
        r2_access_key_id="env:TEST_R2_KEY",
        r2_secret_access_key="env:TEST_R2_SECRET",
        key_template="{environment}/backups",
    )


def estate(cloudflare: FakeCloudflare, s3: FakeS3) -> Estate:
    """SETTINGS and MASTERS_D1 in QA and production, empty."""
    made: dict[str, Namespace] = {}
    for slug in ("qa", "production"):
        env = environment(slug, cloudflare, s3)
        cloudflare.add_token(f"{slug}-read-token", account=env.account_id, permission="read")
        cloudflare.add_token(f"{slug}-write-token", account=env.account_id, permission="write")
        cloudflare.add_namespace(env.account_id, NAMESPACES[slug], f"{slug}-settings")
        cloudflare.add_bucket(env.account_id, env.r2_bucket, locked=f"{slug}/backups/")
        cloudflare.add_database(
            env.account_id,
            DATABASES[slug],
            "masters",
            "CREATE TABLE masters (type TEXT, id TEXT, name TEXT, updated_at TEXT, PRIMARY KEY (type, id));",
        )
        Database.objects.create(environment=env, binding="MASTERS_D1", database_id=DATABASES[slug])
        made[slug] = Namespace.objects.create(
            environment=env, binding="SETTINGS", namespace_id=NAMESPACES[slug], title=f"{slug}-settings"
        )
    return Estate(cloudflare, s3, made["qa"], made["production"])


def scratch(estate: Estate, slug: str = "qa") -> Scratch:
    """A namespace in which an environment's restores are rehearsed."""
    env = estate.qa.environment if slug == "qa" else estate.production.environment
    estate.cloudflare.add_namespace(env.account_id, SCRATCHES[slug], f"{slug}-drills")
    return Scratch.objects.create(
        environment=env, binding="DRILLS", namespace_id=SCRATCHES[slug], title=f"{slug}-drills"
    )


def family(pattern: str, category: Category, *, exact: bool = False, **more: str) -> Family:
    """A key family of SETTINGS; where there is a policy, it is in the next version."""
    build = partial(_family, pattern, category, exact=exact, **more)
    return step("family", pattern, category, exact, *sorted(more.items()), build=build)


def _family(pattern: str, category: Category, *, exact: bool, **more: str) -> Family:
    values: Mapping[str, str] = {"owner": "platform", "expiry": "none", **more}
    made = Family.objects.create(binding="SETTINGS", pattern=pattern, category=category, exact=exact, **values)
    if PolicyVersion.objects.exists():
        keep_policy()
    return made


def change_families(pattern: str = "", **values: object) -> None:
    """Another rule for the families with this pattern, or for all, in the next version of the policy."""
    found = Family.objects.filter(pattern=pattern) if pattern else Family.objects.all()
    with atomic():
        found.update(**values)
        keep_policy()


def change_datasets(**values: object) -> None:
    """Another rule for the datasets, in the next version of the policy."""
    with atomic():
        Dataset.objects.update(**values)
        keep_policy()


def policy() -> PolicyVersion:
    """master: legacy, mastercache: cache, system-root settings, as policy version 1."""
    family("master:", Category.LEGACY)
    family("mastercache:", Category.CACHE, expiry="ttl:3600")
    family("system-root", Category.SETTINGS, exact=True)
    return keep_policy()


def keep_policy() -> PolicyVersion:
    """The families and datasets as they are now, as the next version of the policy."""
    key_policy.Policy.in_force().keep(key_policy.text_in_force(), SETUP)
    return PolicyVersion.objects.latest("number")


def prepared_policy() -> PreparedChange:
    """A change of one family, prepared for an operator to submit."""
    wanted = json.loads(key_policy.text_in_force())
    wanted["family"][0]["retain_days"] = 21
    return prepared_changes.prepare_change(
        ApprovalRequest.Kind.POLICY, definition=wanted, summary=["a family changes"], actor=SETUP
    )


def another_policy() -> PolicyVersion:
    """The next version of the policy, with another rule for every family."""
    number = PolicyVersion.objects.latest("number").number
    change_families(expiry=f"ttl:{number + 100}")
    return PolicyVersion.objects.latest("number")


def check(generation: Generation, *, actor: log.Actor = SETUP, foreground: bool = False) -> Check:
    """A check of a backup against D1, to be worked on."""
    with log.transaction():
        return check_start.create_check(generation, actor=actor, foreground=foreground)


def work(*, late: bool = False) -> None:
    """Do everything that is queued or due, as a worker and a sweep would; waiting times are skipped.

    So is that for requests: each round has a budget of its own, however fast the machine is. Only `late` checks wait
    for hours, so they are left alone unless asked for. Work that never ends is ended with its test.
    """
    left = [] if late else [Run.Kind.LATE_CHECK]
    while True:
        OrmQ.objects.all().delete()
        BudgetSpend.objects.all().delete()
        Run.objects.open().filter(wake_at__isnull=False).update(wake_at=None)
        due = list(Run.objects.open().filter(foreground=False).exclude(kind__in=left).values_list("pk", flat=True))
        if not due:
            return
        for pk in due:
            run_driver.drive(pk)
