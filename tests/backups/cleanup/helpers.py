"""A clean-up on its way, for the tests of stages, deletions and their pages."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256

from backups.cleanup import completion, preparation, requests as cleanup_requests, sharing
from backups.models import CleanupRequest, CleanupStage
from kvops.approvals import gate as approval_gate
from kvops.inventory import scan as inventory_scan
from kvops.models import ApprovalRequest, Namespace, Person, Run
from tests import make, searched
from tests.backups.generations import helpers as generation_helpers
from tests.prepared import step

NAMES = ("master:a:1", "master:a:2", "master:b:1")


def master(name: str) -> bytes:
    """The value of a key of the dataset `masters`, as D1 has it."""
    _, type_, id_ = name.split(":")
    return json.dumps({"type": type_, "id": id_, "name": f"No. {id_}"}).encode()


def fill(estate: make.Estate, *names: str, slugs: Iterable[str] = ("qa", "production")) -> None:
    """These masters in KV and in D1, where `masters` is a dataset."""
    for slug in slugs:
        for name in names:
            estate.put(getattr(estate, slug), name, master(name))
            _, type_, id_ = name.split(":")
            database = generation_helpers.d1(estate, slug)
            database.execute("PRAGMA query_only = 0")
            database.execute("INSERT INTO masters (type, id, name) VALUES (?, ?, ?)", (type_, id_, f"No. {id_}"))
            database.commit()


def scan(*namespaces: Namespace) -> None:
    """A complete scan of each."""
    step("scanned", *namespaces, build=lambda: _scan(*namespaces))


def _scan(*namespaces: Namespace) -> None:
    for namespace in namespaces:
        inventory_scan.start_scan(namespace, actor=make.SETUP)
    make.work()


def estate_with_masters(estate: make.Estate, names: Iterable[str] = NAMES) -> make.Estate:
    """QA and production, each with these masters in KV and D1, scanned."""
    step("masters", *names, build=lambda: _masters(estate, *names))
    return estate


def _masters(estate: make.Estate, *names: str) -> None:
    generation_helpers.dataset()
    fill(estate, *names)
    _scan(estate.qa, estate.production)


def asked(people: make.People, prefix: str = "master:") -> CleanupRequest:
    """The request for a clean-up."""
    build = partial(cleanup_requests.request, binding="SETTINGS", prefix=prefix, reason="moved to D1")
    return step("asked", prefix, people.operator, build=lambda: build(by=people.operator))


def stage_of(request: CleanupRequest, slug: str = "qa") -> CleanupStage:
    """The stage as it is now."""
    return CleanupStage.objects.select_related("request__family", "environment", "namespace").get(
        request=request, environment__slug=slug
    )


def search_code(request: CleanupRequest) -> None:
    """The code that runs in every environment of the clean-up was searched, and mentions no such key."""
    searched.once(*(stage.environment for stage in request.stages.select_related("environment")))


def prepared(request: CleanupRequest, people: make.People, slug: str = "qa") -> CleanupStage:
    """The stage with names, copy, read-back and (legacy) check, and the code searched."""
    return step("prepared", request, people.operator, slug, build=lambda: _prepared(request, people, slug))


def _prepared(request: CleanupRequest, people: make.People, slug: str) -> CleanupStage:
    search_code(request)
    preparation.freeze_stage(stage_of(request, slug), by=people.operator)
    preparation.prepare_stage(stage_of(request, slug), by=people.operator)
    make.work()
    share(stage_of(request, slug), people)
    return stage_of(request, slug)


def share(stage: CleanupStage, people: make.People) -> None:
    """The operator says where a verified copy was shared, unless that is recorded."""
    if stage.generation and stage.generation.status == "verified" and not hasattr(stage.generation, "share"):
        sharing.state(stage, place="#kv-cleanup, with Reviewer", by=people.operator)


def submitted(request: CleanupRequest, people: make.People, slug: str = "qa") -> CleanupStage:
    """Prepared, and waiting for another person."""
    return step("submitted", request, people.operator, slug, build=lambda: _submitted(request, people, slug))


def _submitted(request: CleanupRequest, people: make.People, slug: str) -> CleanupStage:
    cleanup_requests.submit(prepared(request, people, slug), by=people.operator, ticked=True)
    return stage_of(request, slug)


def approved(request: CleanupRequest, people: make.People, slug: str = "qa") -> CleanupStage:
    """Submitted, and approved by the reviewer."""
    return step("approved", request, *_by(people), slug, build=lambda: _approved(request, people, slug))


def _approved(request: CleanupRequest, people: make.People, slug: str) -> CleanupStage:
    approve(submitted(request, people, slug), people)
    return stage_of(request, slug)


def approve(stage: CleanupStage, people: make.People) -> ApprovalRequest:
    """The reviewer says yes to what is submitted."""
    request = ApprovalRequest.objects.get(cleanupstage=stage)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    return request


def started(request: CleanupRequest, people: make.People, slug: str = "qa") -> Run:
    """Approved, and the deletion queued."""
    return step("started", request, *_by(people), slug, build=lambda: _started(request, people, slug))


def _started(request: CleanupRequest, people: make.People, slug: str) -> Run:
    return cleanup_requests.start_deletion(approved(request, people, slug), by=people.operator)


def confirmed(request: CleanupRequest, people: make.People, slug: str = "qa") -> CleanupStage:
    """Deleted and proven."""
    return step("confirmed", request, *_by(people), slug, build=lambda: _confirmed(request, people, slug))


def _confirmed(request: CleanupRequest, people: make.People, slug: str) -> CleanupStage:
    started(request, people, slug)
    make.work()
    return stage_of(request, slug)


def accepted(request: CleanupRequest, people: make.People, slug: str = "qa") -> CleanupStage:
    """Deleted, proven and accepted."""
    return step("accepted", request, *_by(people), slug, build=lambda: _accepted(request, people, slug))


def _accepted(request: CleanupRequest, people: make.People, slug: str) -> CleanupStage:
    stage = confirmed(request, people, slug)
    completion.accept_stage(stage, note="Opened the pages, all well", by=people.operator)
    return stage_of(request, slug)


def _by(people: make.People) -> tuple[Person, Person]:
    return people.operator, people.reviewer


def production(estate: make.Estate, people: make.People) -> CleanupStage:
    """Production's stage of these masters, approved after QA was accepted."""
    estate_with_masters(estate)
    request = asked(people)
    accepted(request, people)
    return approved(request, people, "production")


def journal(estate: make.Estate, slug: str = "qa") -> Mapping[str, str | None]:
    """What Cloudflare itself deleted in the environment: name to the SHA-256 of the value at that moment."""
    found: dict[str, str | None] = {}
    for call in estate.cloudflare.journal:
        if call.namespace == make.NAMESPACES[slug]:
            found |= {name: value for name, value in call.deleted.items() if value is not None}
    return found


def digest(data: bytes) -> str:
    """As the journal says it."""
    return sha256(data).hexdigest()
