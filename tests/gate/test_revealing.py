"""A masked value is revealed only to an operator, or to the reviewer of a pending request about exactly this key."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from audit import log
from audit.models import Entry
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import KvEntry
from kvops.connections import clients
from kvops.inventory import reveal
from kvops.inventory.reveal import RevealRefused
from kvops.inventory.value import Live
from kvops.models import ApprovalRequest, Environment, Key, Namespace, Person, Role, Run, Scan
from kvops.runbook.secrets import RunbookRefused
from tests import make
from tests.gate import world as gate
from tests.gate.executing import Kv
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db
NAME = "system-root"
NOBODY = "Only an operator, or the reviewer of a pending request about this key, can reveal its value"


@pytest.fixture(autouse=True)
def kv(monkeypatch: pytest.MonkeyPatch) -> Kv:
    """The namespace of the environment, read by the client that may only read."""
    found = Kv({NAME: KvEntry(NAME, b'{"a":1}', None, '{"v":1}'), "master:1": KvEntry("master:1", b"x", None, None)})

    @contextmanager
    def reader(environment: Environment) -> Iterator[Kv]:
        assert environment.slug == "qa"
        yield found

    monkeypatch.setattr(clients, "reader", reader)
    return found


def asked(
    world: GateWorld,
    *,
    namespace_id: str = "",
    name: str = NAME,
    count: int = 1,
    environment: Environment | None = None,
) -> ApprovalRequest:
    """A request of the operator to delete this key."""
    names = {"count": count, "first": name}
    evidence: dict[str, object] = {"namespace_id": namespace_id or world.qa.namespace_id, "names": names}
    with log.transaction():
        return approval_gate.submit(
            ApprovalRequest.Kind.DELETE_KEYS,
            subject=f"stage:{ApprovalRequest.objects.count()}",
            title="x",
            evidence=evidence,
            requester=world.people.operator,
            environment=environment or world.qa.environment,
        )


def revealed(world: GateWorld, by: Person, reason: str = " mail is down ") -> Live | None:
    return reveal.reveal(world.qa, NAME, reason=reason, by=by)


def recorded() -> list[Entry]:
    return list(Entry.objects.filter(action="value.revealed"))


def test_an_operator_sees_it_and_the_reason_is_recorded_first(world: GateWorld, kv: Kv) -> None:
    live = revealed(world, world.people.operator)
    assert live is not None
    assert (live.shown, live.metadata, kv.asked) == ('{"a":1}', '{"v":1}', [(world.qa.namespace_id, [NAME])])
    [entry] = recorded()
    assert (entry.actor_id, entry.environment, entry.subject) == (
        world.people.operator.pk, "qa", world.qa.audited["subject"],
    )  # fmt: skip
    assert entry.details == {"key": NAME, "reason": "mail is down"}


def test_json_is_laid_out_on_request(world: GateWorld) -> None:
    live = reveal.reveal(world.qa, NAME, reason="no longer needed", by=world.people.operator, formatted=True)
    assert live is not None
    assert live.shown == '{\n  "a": 1\n}'


def test_a_key_that_is_gone_is_none_and_nothing_was_revealed(world: GateWorld, kv: Kv) -> None:
    kv.held.clear()
    assert revealed(world, world.people.operator) is None
    assert recorded() == []


def test_a_long_reason_is_kept_as_the_log_keeps_it(world: GateWorld) -> None:
    revealed(world, world.people.operator, "xy" * 251)
    assert recorded()[0].details["reason"] == "xy" * (reveal.LONGEST // 2)


@pytest.mark.parametrize(
    ("reason", "refusal"), [("", RevealRefused), ("  ", RevealRefused), ("AKIA1234ABCD5678EFGH", RunbookRefused)]
)
def test_without_a_fit_reason_nothing_is_read(
    world: GateWorld, kv: Kv, reason: str, refusal: type[RevealRefused | RunbookRefused]
) -> None:
    with pytest.raises(refusal):
        revealed(world, world.people.operator, reason)
    assert (kv.asked, recorded()) == ([], [])


def test_what_is_not_masked_is_not_revealed(world: GateWorld, kv: Kv) -> None:
    with pytest.raises(RevealRefused, match="This value is not masked"):
        reveal.reveal(world.qa, "master:1", reason="no longer needed", by=world.people.operator)
    assert (kv.asked, recorded()) == ([], [])


@pytest.mark.parametrize("who", ["auditor", "reviewer", "nobody"])
def test_nobody_else_sees_it(world: GateWorld, kv: Kv, who: str) -> None:
    with pytest.raises(RevealRefused, match=NOBODY):
        revealed(world, getattr(world.people, who))
    assert (kv.asked, recorded()) == ([], [])


def test_the_reviewer_of_a_pending_request_sees_it_and_the_request_is_named(world: GateWorld) -> None:
    asked(world, name="another")
    request = asked(world)
    asked(world)
    assert revealed(world, world.people.reviewer) is not None
    assert recorded()[0].details == {"key": NAME, "reason": "mail is down", "approval": request.pk}


def test_an_operator_needs_no_request(world: GateWorld) -> None:
    asked(world)
    assert reveal.insist_allowed(world.qa, NAME, by=world.people.operator) is None


def of_another_key(world: GateWorld) -> None:
    asked(world, name="api-key:x")


def of_more_keys(world: GateWorld) -> None:
    asked(world, count=2)


def of_another_namespace(world: GateWorld) -> None:
    asked(world, namespace_id="9" * 32)


def of_another_environment(world: GateWorld) -> None:
    asked(world, environment=world.production.environment)


def of_no_keys(world: GateWorld) -> None:
    with log.transaction():
        approval_gate.submit(
            ApprovalRequest.Kind.POLICY, subject="change:1", title="x", evidence={}, requester=world.people.operator,
            environment=world.qa.environment,
        )  # fmt: skip


def decided(world: GateWorld) -> None:
    request = asked(world)
    approval_gate.approve(request, by=world.people.reviewer, shown=request.digest)


def of_their_own(world: GateWorld) -> None:
    make.grant(world.people.reviewer, Role.OPERATOR)
    request = asked(world)
    with gate.past_the_triggers():
        ApprovalRequest.objects.filter(pk=request.pk).update(requester=world.people.reviewer)
        make.revoke(world.people.reviewer, Role.OPERATOR)


def too_late(world: GateWorld) -> None:
    request = asked(world)
    with gate.past_the_triggers():
        ApprovalRequest.objects.filter(pk=request.pk).update(decide_by=Now() - timedelta(seconds=1))


def no_longer_a_reviewer(world: GateWorld) -> None:
    asked(world)
    make.revoke(world.people.reviewer, Role.REVIEWER)


OTHERS: list[Callable[[GateWorld], None]] = [
    of_another_key, of_more_keys, of_another_namespace, of_another_environment, of_no_keys, decided, of_their_own,
    too_late, no_longer_a_reviewer,
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_another_request_reveals_nothing(world: GateWorld, kv: Kv, other: Callable[[GateWorld], None]) -> None:
    other(world)
    with pytest.raises(RevealRefused, match=NOBODY):
        revealed(world, world.people.reviewer)
    assert (kv.asked, recorded()) == ([], [])


def listed(namespace: Namespace, name: str) -> None:
    """The newest scan saw the key with another expiration."""
    run = gate.over(Run.Kind.SCAN, f"namespace:{namespace.pk}", namespace.environment)
    scan = Scan.objects.create(namespace=namespace, run=run, completed_at=Now())
    Key.objects.create(namespace=namespace, name=name, first_seen=scan, expiration=4_000_000_000)


def test_it_is_compared_with_its_own_row_of_the_inventory(world: GateWorld) -> None:
    listed(world.production, NAME)
    listed(world.qa, "another")
    before = revealed(world, world.people.operator)
    listed(world.qa, NAME)
    after = revealed(world, world.people.operator)
    assert before is not None
    assert after is not None
    assert [(one.known, one.changed) for one in (before, after)] == [(False, False), (True, True)]
