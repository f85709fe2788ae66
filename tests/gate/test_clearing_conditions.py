"""The reasons to stop a round before its first call, without a row: how each is asked for, and its words."""

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import QuerySet

from backups import policy
from backups.clearing import conditions, references as clearing_references, rules
from backups.clearing.rules import ClearingRefused
from backups.models import Clearing, Restore
from kvops import clock
from kvops.environments import hours
from kvops.inventory import browse, families as key_families
from kvops.models import ApprovalRequest, Environment, Family, Namespace, PolicyVersion
from kvops.wording import moment

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
RETIRED = '(NOT ("backups_clearing"."retired_at" IS NULL) AND "backups_clearing"."id" = 4)'
UNDER_WAY = '("backups_clearinground"."clearing_id" = 4 AND "backups_cleanupstage"."state" IN (deleting, deleted))'
BY_HAND = (
    '("backups_cleanupstage"."namespace_id" = 2 AND "backups_cleanuprequest"."completed_at" IS NULL AND '
    '"backups_cleanuprequest"."ended_at" IS NULL AND "backups_cleanuprequest"."family_id" = 3 AND NOT '
    '"backups_cleanupstage"."scheduled" AND "backups_cleanupstage"."state" IN (submitted, approved, deleting, deleted))'
)
EARLIER = (
    '("kvops_namespace"."binding" = CACHE AND "kvops_environment"."order" < 2) ORDER BY "kvops_environment"."order" ASC'
)
ACCEPTED = (
    '("backups_clearinground"."accepted_at" >= (STATEMENT_TIMESTAMP() - 90 days, 0:00:00) AND '
    '"kvops_namespace"."environment_id" = 9 AND "backups_clearinground"."scope_digest" = s AND NOT (EXISTS(SELECT 1 AS '
    '"a" FROM "backups_restore" "U0" INNER JOIN "backups_restore_deletions" "U1" ON ("U0"."id" = "U1"."restore_id") '
    'WHERE "U1"."cleanupstage_id" = ("backups_clearinground"."stage_id") LIMIT 1)) AND NOT (EXISTS(SELECT 1 AS "a" '
    'FROM "backups_restore" "U0" WHERE "U0"."stage_id" = ("backups_clearinground"."stage_id") LIMIT 1))) ORDER BY '
    '"backups_clearinground"."accepted_at" DESC'
)
"""The queries of the conditions, from their WHERE on."""


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def clearing() -> Clearing:
    """A rule of production, without rows."""
    environment = Environment(pk=1, slug="production", name="Production", order=2, production=True)
    namespace = Namespace(pk=2, environment=environment, binding="CACHE", title="CACHE", namespace_id="b" * 32)
    family = Family(pk=3, binding="CACHE", pattern="page:", category="cache")
    return Clearing(pk=4, namespace=namespace, family=family, prefix="page:a", cap=10)


class Queries:
    """The queries that were made, from their WHERE on; each finds the next answer, and then none."""

    def __init__(self) -> None:
        self.made, self.answers = list[str](), list[Any]()

    def first(self, query: QuerySet[Any]) -> Any:
        self.made.append(str(query.query).split(" WHERE ", 1)[1])
        return self.answers.pop(0) if self.answers else None


@pytest.fixture(autouse=True)
def queries(monkeypatch: pytest.MonkeyPatch) -> Queries:
    found = Queries()

    def first(query: QuerySet[Any]) -> Any:
        return found.first(query)

    monkeypatch.setattr(QuerySet, "first", first)
    monkeypatch.setattr(QuerySet, "exists", lambda query: first(query) is not None)
    return found


def refused(act: Callable[..., object], *given: object) -> str:
    """The sentence with which it was refused."""
    with pytest.raises(ClearingRefused) as error:
        act(*given)
    return str(error.value)


# The rule


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch, clearing: Clearing) -> list[Family | None]:
    """The family that the keys are of; the policy is in force."""
    found: list[Family | None] = [clearing.family]
    monkeypatch.setattr(policy, "shown", dict)
    monkeypatch.setattr(
        key_families, "family_of", lambda *of: found[0] if of == ("CACHE", "page:a") else pytest.fail(str(of))
    )
    return found


def test_a_rule_in_force_of_a_cache_is_let_through(
    clearing: Clearing, owner: list[Family | None], queries: Queries
) -> None:
    conditions.insist_rule(clearing)
    assert queries.made == [RETIRED]
    gone = "page:* is no longer the cache family of these keys. Retire the rule."
    for other in (None, Family(pk=9, binding="CACHE", pattern="page:", category="cache")):
        owner[0] = other
        assert refused(conditions.insist_rule, clearing) == gone
    owner[0] = clearing.family
    clearing.family.category = "settings"
    assert refused(conditions.insist_rule, clearing) == gone
    queries.answers = ["row"]
    assert refused(conditions.insist_rule, clearing) == "The rule is retired."


@pytest.mark.usefixtures("owner")
def test_without_the_approved_policy_no_rule_is_in_force(clearing: Clearing, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [PolicyVersion.DoesNotExist("none"), policy.PolicyEdited("edited", 1)]

    def shown() -> None:
        raise errors[0]

    monkeypatch.setattr(policy, "shown", shown)
    none = "There is no policy in force, so nothing may be deleted. Apply one first."
    assert refused(conditions.insist_rule, clearing) == none
    del errors[0]
    with pytest.raises(ClearingRefused) as error:
        conditions.insist_rule(clearing)
    assert (error.value.args, error.value.__cause__) == (("edited", 1), errors[0])


# The approval


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, clearing: Clearing) -> SimpleNamespace:
    """An approved rule that was accepted, and no new place writes its keys since `since`."""
    of = SimpleNamespace(approval=ApprovalRequest(digest="d", decided_at=NOW), since=NOW, new=[], why="")

    def new(given: Clearing, since: datetime) -> list[Any]:
        assert (given, since) == (clearing, of.since)
        return of.new  # type: ignore[no-any-return]

    digests = {(clearing.pk, id(of.approval)): "d"}
    monkeypatch.setattr(rules, "rule_digest", lambda given, approval: digests[given.pk, id(approval)])
    monkeypatch.setattr(conditions, "not_accepted", lambda given: of.why if given is clearing else "other")
    monkeypatch.setattr(clearing_references, "unanswered_since", new)
    return of


def test_the_approved_rule_without_new_code_is_let_through(clearing: Clearing, found: SimpleNamespace) -> None:
    conditions.insist_approved(clearing, found.approval)
    found.approval.decided_at, found.approval.created_at = None, datetime(2026, 11, 1, tzinfo=UTC)
    found.since = found.approval.created_at
    conditions.insist_approved(clearing, found.approval)
    found.new = [SimpleNamespace(place="a.js:3"), SimpleNamespace(place="b.js:4")]
    assert refused(conditions.insist_approved, clearing, found.approval) == (
        "a.js:3 writes or deletes these keys, is newer than the approval and has no answer; such places: 2. Answer "
        "them on the page of the rule: /clearing/4/"
    )
    found.why = "not accepted"
    assert refused(conditions.insist_approved, clearing, found.approval) == "not accepted"
    found.approval.digest = "e"
    other = "The rule is no longer the one that was approved. Ask again."
    assert refused(conditions.insist_approved, clearing, found.approval) == other


# The time


@pytest.fixture
def at_rest(monkeypatch: pytest.MonkeyPatch, clearing: Clearing) -> SimpleNamespace:
    """Within the hours, with a fresh scan, and nothing else has the keys."""
    of = SimpleNamespace(opens=None, scan=SimpleNamespace(fresh=True), bulk=None)
    mine, asked = (clearing.namespace, clearing.family), list[object]()

    def bulk_writing(*given: object) -> SimpleNamespace:
        assert given == mine
        return SimpleNamespace(first=lambda: of.bulk)

    def opening(*given: object) -> datetime | None:
        assert given == (clearing.namespace.environment, NOW)
        return of.opens  # type: ignore[no-any-return]

    def covering(*given: object) -> object:
        assert given == (clearing.namespace, "page:a")
        return of.scan

    monkeypatch.setattr(hours, "next_opening", opening)
    monkeypatch.setattr(browse, "covering_scan", covering)
    monkeypatch.setattr(browse, "is_fresh", lambda scan: scan.fresh)
    monkeypatch.setattr(Restore, "objects", SimpleNamespace(bulk_writing=bulk_writing))
    of.asked = asked
    return of


def test_a_round_starts_while_nothing_else_has_the_keys(
    clearing: Clearing, at_rest: SimpleNamespace, queries: Queries
) -> None:
    conditions.insist_time(clearing)
    assert queries.made == [UNDER_WAY, BY_HAND]
    at_rest.bulk = SimpleNamespace(pk=7)
    bulk = "A bulk change of the same family is under way: /changes/bulk/7/"
    assert refused(conditions.insist_time, clearing) == bulk
    queries.answers = [None, SimpleNamespace(pk=8)]
    by_hand = "A clean-up of the same family is under way: /cleanup/stages/8/"
    assert refused(conditions.insist_time, clearing) == by_hand
    queries.answers = [SimpleNamespace(pk=6)]
    over = "Round 6 is not over. Look at its run: resume it, or end it."
    assert refused(conditions.insist_time, clearing) == over


def test_a_round_starts_within_the_hours_and_with_a_fresh_scan(clearing: Clearing, at_rest: SimpleNamespace) -> None:
    assert conditions.fresh_scan(clearing) is at_rest.scan
    for scan in (SimpleNamespace(fresh=False), None):
        at_rest.scan = scan
        sentence = f"{clearing.namespace} was not scanned within a day. Scan it first."
        assert refused(conditions.insist_time, clearing) == sentence
    at_rest.opens = NOW
    assert refused(conditions.insist_time, clearing) == (
        f"In Production a deletion starts only within the allowed hours. The next time is {moment(NOW)}."
    )


# QA


def test_only_a_round_of_the_same_scope_that_was_not_undone_counts(
    clearing: Clearing, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "scope_digest", lambda given: "s" if given is clearing else "")
    queries.answers = ["round"]
    found: Any = conditions.accepted_round(clearing, Environment(pk=9))
    assert (found, queries.made) == ("round", [ACCEPTED])


def test_the_earlier_environments_have_the_binding(clearing: Clearing) -> None:
    query = str(conditions.earlier_environments(clearing).query)
    assert query.split(" WHERE ")[1] == EARLIER


NOWHERE = "A rule runs in production only after it ran in another environment. None has CACHE."
NOT_ACCEPTED = "The same rule is not accepted in QA. Let it run there, try the application, accept the round."
QA, OTHER = Environment(pk=8, name="QA"), Environment(pk=9, name="Production EU", production=True)


@pytest.mark.parametrize(
    ("production", "environments", "why"),
    [
        (True, ([], []), NOWHERE), (True, ([OTHER], [OTHER]), NOWHERE), (False, ([], []), ""),
        (False, ([OTHER], [OTHER]), ""), (True, ([QA], []), NOT_ACCEPTED), (True, ([QA], [QA]), ""),
        (True, ([QA, OTHER], [QA, OTHER]), ""), (True, ([OTHER, QA], [OTHER]), NOT_ACCEPTED),
        (False, ([QA], []), NOT_ACCEPTED),
    ],
)  # fmt: skip
def test_a_rule_runs_where_it_was_accepted_in_every_earlier_environment(
    clearing: Clearing, monkeypatch: pytest.MonkeyPatch, production: bool, environments: Any, why: str
) -> None:
    earlier, accepted = environments

    def round_of(given: Clearing, environment: Environment) -> object:
        assert given is clearing
        return "round" if environment in accepted else None

    clearing.namespace.environment.production = production
    monkeypatch.setattr(conditions, "earlier_environments", lambda given: earlier if given is clearing else [])
    monkeypatch.setattr(conditions, "accepted_round", round_of)
    assert str(conditions.not_accepted(clearing)) == why
