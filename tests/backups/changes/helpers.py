"""A change on its way, for the tests of changes, their pages and their gate."""

from dataclasses import replace
from functools import partial

from backups.bucket import protection as bucket_protection
from backups.changes import propose, requests as change_requests
from backups.changes.propose import Wish
from backups.models import KeyChange
from kvops.approvals import gate as approval_gate, risks
from kvops.models import ApprovalRequest, Category, Namespace, Run
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.namespaces import Item
from tests.prepared import step

KEY = "mail:smtp"
OLD, NEW = b'{"host":"old.example","port":25}', b'{"host":"new.example","port":25,"tls":true}'
State = KeyChange.State


def ready(estate: make.Estate) -> make.Estate:
    """One key of settings in QA and production, scanned, and buckets that let proposals go."""
    step("a key of settings", build=lambda: _ready(estate))
    return estate


def _ready(estate: make.Estate) -> None:
    make.family("mail:", Category.SETTINGS)
    for namespace in (estate.qa, estate.production):
        estate.put(namespace, KEY, OLD, metadata='{"v":1}')
        bucket_protection.ask_cloudflare(namespace.environment)
    cleanup_helpers.scan(estate.qa, estate.production)


def proposed(namespace: Namespace, people: make.People, name: str = KEY, **wish: object) -> KeyChange:
    """Proposed, and the old value backed up and verified."""
    build = partial(_proposed, namespace, people, name, **wish)
    return step("proposed", namespace, people.operator, name, *sorted(wish.items()), build=build)


def _proposed(namespace: Namespace, people: make.People, name: str, **wish: object) -> KeyChange:
    old = propose.live_entry(namespace, name)
    given = replace(Wish(value=NEW), **wish)  # type: ignore[arg-type]
    change = propose.propose(namespace, name, old=old, wish=given, by=people.operator)
    make.work()
    return fresh(change)


def submitted(change: KeyChange, people: make.People, **more: object) -> ApprovalRequest:
    """Waiting for another person."""
    if change.environment.production and not more:
        more = {"no_qa_because": "the key is in production only"}
    return change_requests.submit(change, reason="the mail server moves", by=people.operator, **more)  # type: ignore[arg-type]


def approved(change: KeyChange, people: make.People, **more: object) -> KeyChange:
    """Submitted, and approved by the reviewer with the risks that it names."""
    build = partial(_approved, change, people, **more)
    return step("approved", change, people.operator, people.reviewer, *sorted(more.items()), build=build)


def _approved(change: KeyChange, people: make.People, **more: object) -> KeyChange:
    request = submitted(change, people, **more)
    accepted = risks.risks_of(request)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest, accepted=accepted)
    return fresh(change)


def started(change: KeyChange, people: make.People, **more: object) -> Run:
    """Approved and queued."""
    return change_requests.start(approved(change, people, **more), by=people.operator)


def done(namespace: Namespace, people: make.People, **wish: object) -> KeyChange:
    """Proposed, approved, written and read back."""
    build = partial(_done, namespace, people, **wish)
    return step("changed", namespace, people.operator, people.reviewer, *sorted(wish.items()), build=build)


def _done(namespace: Namespace, people: make.People, **wish: object) -> KeyChange:
    change = proposed(namespace, people, KEY, **wish)
    started(change, people)
    make.work()
    return fresh(change)


def fresh(change: KeyChange) -> KeyChange:
    """The change as it is now."""
    related = ("environment", "namespace__environment", "generation", "run", "approval", "erase_run", "prepare_run")
    return KeyChange.objects.select_related(*related).get(pk=change.pk)


def held(estate: make.Estate, namespace: Namespace, name: str = KEY) -> Item | None:
    """What the fake holds under the name."""
    found = {item.name: item for item in estate.cloudflare.namespace(namespace.namespace_id).walk("", None)}
    return found.get(name)


def proposals(estate: make.Estate) -> list[str]:
    """The proposals in the bucket."""
    return [key for key in estate.s3.objects if key.startswith("proposals/")]


def refused(run: Run, code: str) -> None:
    """The run failed with this code."""
    run.refresh_from_db()
    assert (run.state, run.error_code) == (Run.State.FAILED, code), (run.state, run.error_code, run.error, run.note)
