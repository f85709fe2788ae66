"""The code that writes keys of a rule: which places count, which of them are new, and the answers to them."""

# ruff: noqa: F811  # pytest gives the fixture by its name
from collections.abc import Sequence
from datetime import timedelta

import pytest

from audit.models import Entry
from backups.cleanup.references import StageHit
from backups.clearing import conditions, references
from backups.clearing.rules import ClearingRefused
from backups.models import Clearing
from kvops import clock
from kvops.models import ApprovalRequest, Person, ReferenceAnswer
from tests import searched
from tests.gate.test_clearing import rule  # noqa: F401
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db
WRITES = "src/a.ts:7 write certain SETTINGS mastercache:*"
DELETES = "src/b.ts:8 delete possible SETTINGS *"
READS = "src/c.ts:9 read certain SETTINGS mastercache:*"
OTHERS = "src/d.ts:10 write certain SETTINGS master:*"
HOUR = timedelta(hours=1)


@pytest.fixture
def writers(world: GateWorld, rule: Clearing) -> list[StageHit]:
    """A place that writes and one that deletes, among others."""
    searched.search(world.qa.environment, hits=[READS, WRITES, OTHERS, DELETES])
    return references.writers(rule)


def places(found: Sequence[StageHit]) -> list[str]:
    return sorted(one.place for one in found)


def answer(rule: Clearing, by: Person, *hits: int, kind: str = "falls_back", reason: str = " read from D1 ") -> None:
    references.answer(rule, hits=hits, kind=kind, reason=reason, by=by)


def refused(rule: Clearing, by: Person, *hits: int, kind: str = "falls_back", reason: str = "read from D1") -> str:
    with pytest.raises(ClearingRefused) as error:
        answer(rule, by, *hits, kind=kind, reason=reason)
    assert not ReferenceAnswer.objects.exists()
    return str(error.value)


def test_places_that_write_or_delete_count(rule: Clearing, writers: list[StageHit]) -> None:
    assert places(writers) == ["src/a.ts:7", "src/b.ts:8"]


def test_the_newest_searches_of_the_environment_count(world: GateWorld, rule: Clearing) -> None:
    searched.search(world.production.environment, hits=[WRITES])
    assert references.writers(rule) == []
    searched.search(world.qa.environment, worker="site", hits=[DELETES])
    searched.search(world.qa.environment, hits=[WRITES])
    assert places(references.writers(rule)) == ["src/a.ts:7", "src/b.ts:8"]
    searched.search(world.qa.environment, commit="5b1c0de")
    assert places(references.writers(rule)) == ["src/b.ts:8"]


def test_a_place_is_new_if_no_search_of_the_environment_knew_it(world: GateWorld, rule: Clearing) -> None:
    searched.search(world.production.environment, hits=[WRITES, DELETES], ago=3 * HOUR)
    searched.search(world.qa.environment, hits=[WRITES], ago=3 * HOUR)
    searched.search(world.qa.environment, hits=[WRITES, DELETES])
    now = clock.now()
    assert places(references.unanswered_since(rule, now - 4 * HOUR)) == ["src/a.ts:7", "src/b.ts:8"]
    assert places(references.unanswered_since(rule, now - 2 * HOUR)) == ["src/b.ts:8"]
    assert references.unanswered_since(rule, now + HOUR) == []


def test_a_place_with_an_answer_is_not_new(world: GateWorld, rule: Clearing, writers: list[StageHit]) -> None:
    answer(rule, world.people.operator, *(one.hit.pk for one in writers if one.place == "src/a.ts:7"))
    assert places(references.unanswered_since(rule, clock.now() - HOUR)) == ["src/b.ts:8"]


def test_in_production_an_answer_of_qa_is_none(world: GateWorld, rule: Clearing, writers: list[StageHit]) -> None:
    answer(rule, world.people.operator, *(one.hit.pk for one in writers))
    rule.namespace = world.production
    searched.search(world.production.environment, hits=[WRITES, DELETES])
    assert [one.answer for one in references.writers(rule)] == [None, None]
    assert places(references.unanswered_since(rule, clock.now() - HOUR)) == ["src/a.ts:7", "src/b.ts:8"]
    answer(rule, world.people.operator, references.writers(rule)[0].hit.pk)
    assert places(references.unanswered_since(rule, clock.now() - HOUR)) == ["src/b.ts:8"]


def test_a_small_search_after_the_approval_stops_the_rounds(world: GateWorld, rule: Clearing) -> None:
    approval = ApprovalRequest.objects.get(subject=rule.subject)
    environment = world.qa.environment
    larger = searched.search(environment, hits=[READS])
    small = searched.search(environment, commit="5b1c0de", fewer_than=larger, files=1, source="file")
    approval.decided_at = small.at + HOUR
    conditions.insist_approved(rule, approval)
    approval.decided_at = small.at - HOUR
    with pytest.raises(ClearingRefused) as error:
        conditions.insist_approved(rule, approval)
    assert str(error.value) == (
        f"Search {small.pk} came after the approval and has fewer files or places than search {larger.pk}."
        " Search the whole checkout, or have the rule approved again: /references/qa/"
    )
    searched.search(environment, commit="5b1c0de")
    conditions.insist_approved(rule, approval)


def test_a_certain_writer_of_the_family_is_not_unrelated(
    world: GateWorld, rule: Clearing, writers: list[StageHit]
) -> None:
    sentence = refused(rule, world.people.operator, writers[0].hit.pk, kind="unrelated")
    assert sentence.startswith("src/a.ts:7 certainly uses exactly these keys")


def test_an_answer_is_kept_and_recorded(world: GateWorld, rule: Clearing, writers: list[StageHit]) -> None:
    by, hits, kind = world.people.operator, [one.hit.pk for one in writers], "falls_back"
    answer(rule, by, *hits, *hits, kind=kind)
    kept = ReferenceAnswer.objects.order_by("hit")
    assert [(one.family, one.kind, one.reason, one.by) for one in kept] == [(rule.family, kind, "read from D1", by)] * 2
    assert sorted((one.hit_id, one.fingerprint) for one in kept) == sorted(
        (one.hit.pk, one.hit.fingerprint) for one in writers
    )
    found = Entry.objects.get(action="clearing.answered")
    assert (found.actor_id, found.environment, found.subject, found.subject_label) == (
        by.pk, "qa", rule.subject, str(rule),
    )  # fmt: skip
    details = {"places": [one.place for one in writers], "kind": kind, "reason": "read from D1"}
    assert found.details == details


def test_long_answers_are_cut_in_the_entry(world: GateWorld, rule: Clearing) -> None:
    rule.prefix = f"mastercache:{'x' * 200}"
    hits = [f"{'y' * 400}.ts:{line} write certain SETTINGS mastercache:*" for line in range(21)]
    searched.search(world.qa.environment, hits=hits)
    answer(
        rule,
        world.people.operator,
        *(one.hit.pk for one in references.writers(rule)),
        reason="yz" + "z" * 499,
    )
    assert (ReferenceAnswer.objects.count(), len(ReferenceAnswer.objects.first().reason)) == (21, 501)  # type: ignore[union-attr]
    found = Entry.objects.get(action="clearing.answered")
    assert (found.details["places"], found.details["reason"]) == (["y" * 300] * 20, "yz" + "z" * 498)
    assert found.subject_label == str(rule)[:200] != str(rule)[:201]


def test_an_answer_is_refused_in_full_sentences(world: GateWorld, rule: Clearing, writers: list[StageHit]) -> None:
    by, hits = world.people.operator, [one.hit.pk for one in writers]
    reader = min(hits) + max(hits) + 1
    assert refused(rule, world.people.reviewer, *hits) == "Only an operator can do this."
    reason = "Give the reason for your answer: the reviewer reads it."
    assert refused(rule, by, *hits, reason=" ") == reason
    assert refused(rule, by, *hits, kind="follow_up") == "Choose an answer."
    other = "These hits are not of the newest search for these keys. Load the page again."
    assert refused(rule, by) == refused(rule, by, reader) == refused(rule, by, *hits, reader) == other
