"""A clean-up on its way without Cloudflare, R2 or D1: what runs would have written is written as rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import md5, sha256

from django.db.models import F, Model
from django.db.models.functions import Now
from django.db.transaction import atomic, set_rollback

from backups import archive
from backups.bucket import protection as bucket_protection
from backups.cleanup import completion as cleanup_completion, requests as cleanup_requests
from backups.datasets import registry as dataset_registry
from backups.models import (
    BackupShare,
    BucketProtection,
    Check,
    CleanupEntry,
    CleanupRequest,
    CleanupStage,
    Dataset,
    Generation,
    GenerationEntry,
    GenerationPart,
    StoredObject,
)
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import LockRule
from kvops.models import ApprovalRequest, Database, Environment, Namespace, Person, Run, Scan
from kvops.runs import lease as run_lease
from kvops.runs.lease import Lease
from tests import make, searched
from tests.fakes.s3 import FakeS3

State = CleanupStage.State
past_the_triggers = make.past_the_triggers
NAMES = ("master:a:1", "master:a:2", "master:b:1")
SHA = "0" * 64


@dataclass(frozen=True)
class GateWorld:
    """QA and production with the same binding, and the five people."""

    people: make.People
    qa: Namespace
    production: Namespace


@contextmanager
def undone() -> Iterator[None]:
    """A transaction that never happened; what opens one of its own may be called within."""
    block = atomic()
    block._from_testcase = True  # type: ignore[attr-defined]
    with block:
        yield
        set_rollback(True)


def world() -> GateWorld:
    """An estate that is never reached."""
    made = {slug: _environment(slug, order) for order, slug in enumerate(("qa", "production"), 1)}
    make.policy()
    return around(made["qa"], made["production"])


def around(qa: Namespace, production: Namespace) -> GateWorld:
    """People and a dataset for these two; the policy is there."""
    Dataset.objects.create(
        name="masters", binding="SETTINGS", prefix="master:", database="MASTERS_D1", table="masters",
        key="master:{type}:{id}", fields={"id": "id", "type": "type", "name": "name"}, ignore=["updated_at"],
    )  # fmt: skip
    make.keep_policy()
    for namespace in (qa, production):
        _lock(namespace.environment)
    return GateWorld(make.everybody(), qa, production)


def _lock(environment: Environment) -> None:
    """Cloudflare said that nothing in the bucket is ever let go; said so late that it holds for every test."""
    rule = asdict(LockRule("everything", "", enabled=True, forever=True))
    said = {"rules": [rule], "wider": [], "public": [], "problem": "", "read_at": Now() + timedelta(days=365)}
    BucketProtection.objects.update_or_create(
        environment=environment, defaults={"of": bucket_protection.known(environment).of, "lock": "held", **said}
    )


def _environment(slug: str, order: int) -> Namespace:
    environment = Environment.objects.create(
        slug=slug, name=slug.title(), order=order, production=slug == "production", account_id=make.ACCOUNTS[slug],
        read_token=f"env:GATE_{slug.upper()}_READ", write_token=f"env:GATE_{slug.upper()}_WRITE",
        api_base_url="http://127.0.0.1:9", r2_endpoint="http://127.0.0.1:9", r2_bucket=f"{slug}-bucket",
        r2_access_key_id="env:GATE_R2_KEY", r2_secret_access_key="env:GATE_R2_SECRET",
    )  # fmt: skip
    Database.objects.create(environment=environment, binding="MASTERS_D1", database_id=make.DATABASES[slug])
    return Namespace.objects.create(
        environment=environment, binding="SETTINGS", namespace_id=make.NAMESPACES[slug], title=f"{slug}-settings"
    )


def asked(world: GateWorld, prefix: str = "master:", *, by: Person | None = None) -> CleanupRequest:
    """A clean-up whose code was searched."""
    operator = by or world.people.operator
    request = cleanup_requests.request(binding="SETTINGS", prefix=prefix, reason="moved to D1", by=operator)
    searched.once(world.qa.environment, world.production.environment)
    return request


def stage_of(request: CleanupRequest, slug: str = "qa") -> CleanupStage:
    """The stage as it is now."""
    related = ("request__family", "environment", "namespace", "approval", "run", "generation")
    return CleanupStage.objects.select_related(*related).get(request=request, environment__slug=slug)


def go(stage: CleanupStage, state: CleanupStage.State, **values: object) -> CleanupStage:
    """One move, as a run would make it."""
    CleanupStage.objects.filter(pk=stage.pk).update(state=state, **values)
    return stage_of(stage.request, stage.environment.slug)


def over(kind: Run.Kind, subject: str, environment: Environment) -> Run:
    """A run that did its work."""
    return Run.objects.create(
        kind=kind, subject=subject, label="x", actor="tests", environment=environment, state="succeeded",
        finished_at=Now(),
    )  # fmt: skip


def frozen(stage: CleanupStage, names: Sequence[str] = NAMES) -> CleanupStage:
    """The names of a scan."""
    scan = Scan.objects.create(
        namespace=stage.namespace,
        run=over(Run.Kind.SCAN, f"namespace:{stage.namespace_id}", stage.environment),
        completed_at=Now(),
    )
    CleanupEntry.objects.filter(stage=stage).delete()
    CleanupEntry.objects.bulk_create(
        CleanupEntry(stage=stage, index=index, name=name) for index, name in enumerate(names)
    )
    digest = archive.names_sha256(names)
    what = {"scan": scan, "names": len(names), "names_sha256": digest}
    return go(stage, State.FROZEN, frozen_at=Now(), generation=None, check_passed=None, **what)


def checked(request: CleanupRequest, slug: str = "qa", names: Sequence[str] = NAMES) -> CleanupStage:
    """Frozen, copied, read back and equal to D1."""
    stage = verified(request, slug, names)
    if request.category != "legacy" or stage.generation is None:
        return stage
    return go(stage, State.CHECKED, check_passed=_check(stage.generation))


def verified(request: CleanupRequest, slug: str = "qa", names: Sequence[str] = NAMES) -> CleanupStage:
    """Frozen, copied and read back."""
    stage = frozen(stage_of(request, slug), names)
    generation = _backed_up(stage, names)
    stage = go(stage, State.BACKED_UP, generation=generation)
    BackupShare.objects.create(generation=generation, place="#kv-cleanup", by=request.requested_by)
    Generation.objects.filter(pk=generation.pk).update(status="verified", verified_at=Now())
    return go(stage, State.VERIFIED)


def written(key: str) -> bytes:
    """The content of an object of a backup."""
    return f"as written: {key}".encode()


def etag(body: bytes) -> str:
    """What S3 says to tell contents apart."""
    return md5(body, usedforsecurity=False).hexdigest()


def fill(bucket: FakeS3, stage: CleanupStage) -> None:
    """Put the objects of the stage's backup into the bucket."""
    assert stage.generation
    for key in stage.generation.every_object():
        bucket.objects[key] = written(key)


def _backed_up(stage: CleanupStage, names: Sequence[str]) -> Generation:
    generation = Generation.objects.create(
        environment=stage.environment, namespace=stage.namespace, prefixes=[stage.request.prefix],
        category=stage.request.category, purpose="cleanup", actor="tests", bucket=stage.environment.r2_bucket,
        endpoint=stage.environment.r2_endpoint, account_id=stage.environment.account_id,
        run=over(Run.Kind.BACKUP, f"stage:{stage.pk}:copy", stage.environment),
        stem=f"backups/kv/master/{stage.pk}-{Generation.objects.count()}", retain_until=Now() + timedelta(days=30),
    )  # fmt: skip
    GenerationEntry.objects.bulk_create(
        GenerationEntry(
            generation=generation, index=index, name=name, outcome="kept", size=2,
            digest=archive.entry_digest(name, sha256(b"{}").digest(), None, None),
        )
        for index, name in enumerate(names)
    )  # fmt: skip
    data, manifest = f"{generation.stem}.json", f"{generation.stem}.manifest.json"
    GenerationPart.objects.create(
        generation=generation, number=1, object_key=data, digests_key=f"{data}.digests", sha256=SHA,
        digests_sha256=SHA, digest_root=SHA, size=9, keys=len(names), first_index=0, last_index=len(names) - 1,
        stored=[{"key": data, "digests_key": f"{data}.digests"}],
    )  # fmt: skip
    Generation.objects.filter(pk=generation.pk).update(
        status="complete", finished_at=Now(), manifest_key=manifest, digest_root="4" * 64, keys=len(names),
        manifest_sha256=sha256(written(manifest)).hexdigest(), bytes=2 * len(names),
    )  # fmt: skip
    generation.refresh_from_db()
    StoredObject.objects.bulk_create(
        StoredObject(
            environment=stage.environment, key=key, generation=generation, status="known", seen_at=Now(),
            size=len(written(key)), written_size=len(written(key)), written_etag=etag(written(key)),
        )
        for key in generation.every_object()
    )  # fmt: skip
    return generation


def _check(generation: Generation, **result: object) -> Check:
    dataset = Dataset.objects.get(name="masters")
    check = Check.objects.create(
        environment=generation.environment, dataset=dataset, definition=dataset_registry.definition(dataset),
        definition_digest=dataset_registry.definition_digest(dataset), generation=generation, source=generation.stem,
        run=over(Run.Kind.CHECK, f"generation:{generation.pk}", generation.environment),
    )  # fmt: skip
    Check.objects.filter(pk=check.pk).update(
        **{"outcome": "passed", "keys": 3, "rows": 3, "finished_at": Now(), **result}
    )
    check.refresh_from_db()
    return check


def submitted(
    world: GateWorld, request: CleanupRequest, slug: str = "qa", names: Sequence[str] = NAMES
) -> CleanupStage:
    """Waiting for the reviewer."""
    cleanup_requests.submit(checked(request, slug, names), by=world.people.operator, ticked=True)
    return stage_of(request, slug)


def approved(world: GateWorld, request: CleanupRequest, slug: str = "qa", names: Sequence[str] = NAMES) -> CleanupStage:
    """Approved by the reviewer."""
    stage = submitted(world, request, slug, names)
    approve(world, approval_of(stage))
    return stage_of(request, slug)


def approval_of(stage: CleanupStage) -> ApprovalRequest:
    """The stage's request for a decision."""
    return ApprovalRequest.objects.get(cleanupstage=stage)


def approve(world: GateWorld, request: ApprovalRequest) -> None:
    """The reviewer says yes."""
    approval_gate.approve(request, by=world.people.reviewer, shown=request.digest)


def started(world: GateWorld, request: CleanupRequest, slug: str = "qa", names: Sequence[str] = NAMES) -> CleanupStage:
    """Claimed, with its run."""
    cleanup_requests.start_deletion(approved(world, request, slug, names), by=world.people.operator)
    return stage_of(request, slug)


def lease_of(stage: CleanupStage) -> Lease:
    """A worker's right to the stage's run."""
    assert stage.run is not None
    lease = run_lease.take(stage.run.pk)
    assert lease is not None
    return lease


def proven(stage: CleanupStage) -> CleanupStage:
    """A started deletion came to its end, and the names are gone."""
    run = lease_of(stage).run
    Run.objects.filter(pk=run.pk).update(state="succeeded", owner="", lease_until=None, finished_at=Now())
    stage = go(stage, State.DELETED, deleted=F("names"), first_listing_at=Now() - timedelta(minutes=2))
    return go(stage, State.CONFIRMED, second_listing_at=Now())


def accept(world: GateWorld, stage: CleanupStage) -> CleanupStage:
    """An operator tried the application."""
    cleanup_completion.accept_stage(stage, note="Opened the pages, all well", by=world.people.operator)
    return stage_of(stage.request, stage.environment.slug)


def accepted(world: GateWorld, request: CleanupRequest, names: Sequence[str] = NAMES) -> CleanupStage:
    """QA, cleaned and accepted."""
    return accept(world, proven(started(world, request, "qa", names)))


def empty(world: GateWorld, request: CleanupRequest) -> CleanupStage:
    """QA held no such key; accepted as such."""
    stage = frozen(stage_of(request), ())
    listed = {"first_listing_at": Now() - timedelta(minutes=2), "second_listing_at": Now()}
    return accept(world, go(stage, State.CONFIRMED, **listed))


def tampered(row: Model, **values: object) -> None:
    """One row changed by SQL past every trigger."""
    with past_the_triggers():
        type(row)._default_manager.filter(pk=row.pk).update(**values)
