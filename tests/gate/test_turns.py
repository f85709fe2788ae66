"""Whose turn it is: production is shown QA's clean-up of the same, and without it says what is missing."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from backups.cleanup import qa as qa_first
from backups.models import CleanupException, CleanupRequest, CleanupStage, Reappearance, Restore
from kvops import timing
from kvops.models import Category
from tests import make, searched
from tests.gate import world as gate
from tests.gate.world import GateWorld
from tests.prepared import Prepared
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
FIRST = "Clean up Qa first: its stage must be accepted, under the same rules, at most 7 days earlier."
NOTHING = "No key of this clean-up was deleted in Qa, so it proves nothing. End this clean-up and ask for another one."
BACK = (
    "Restore {} wrote deleted keys back in {}, so its clean-up proves nothing any more. End this clean-up and ask for "
    "another one."
)
AGAIN = "Keys deleted in Qa reappeared. Note your findings there first."


@pytest.fixture
def qa(prepared: Prepared, world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    return prepared.step("accepted", lambda: gate.accepted(world, request_))


@pytest.fixture
def production(qa: CleanupStage) -> CleanupStage:
    return gate.stage_of(qa.request, "production")


def shown(stage: CleanupStage) -> list[int]:
    return [found.pk for found in qa_first.qa_stages(stage)]


def missing(stage: CleanupStage) -> str:
    return str(qa_first.missing_qa(stage))


def test_the_first_environment_waits_for_none(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.stage_of(request_)
    assert (missing(stage), qa_first.earlier_environment(stage), shown(stage)) == ("", None, [])


def test_production_waits_for_qa(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.stage_of(request_, "production")
    assert missing(stage) == FIRST
    assert qa_first.earlier_environment(stage) == world.qa.environment


def test_what_qa_accepted_is_shown(
    qa: CleanupStage, production: CleanupStage, django_assert_num_queries: Callable[[int], object]
) -> None:
    assert (missing(production), qa_first.earlier_environment(production), shown(production)) == ("", None, [qa.pk])
    [found] = qa_first.qa_stages(production)
    with django_assert_num_queries(0):  # type: ignore[attr-defined]
        assert (found.environment.slug, found.accepted_by and found.accepted_by.name) == ("qa", "Operator")


def left(qa: CleanupStage, note: str = "") -> None:
    CleanupException.objects.create(stage=qa, index=0, name=gate.NAMES[0], outcome="changed")
    values(skipped=1, leftovers_note=note)(qa)


def values(**changed: object) -> Callable[[CleanupStage], object]:
    return lambda qa: CleanupStage.objects.filter(pk=qa.pk).update(**changed)


def back(qa: CleanupStage, stage: CleanupStage | None = None) -> Restore:
    """A restore, which is the undo of the stage if it is given."""
    assert qa.generation
    return Restore.objects.create(
        environment=qa.environment, namespace=qa.namespace, generation=qa.generation, stage=stage, prefix="master:",
        prepared_by="tests",
    )  # fmt: skip


def undone(qa: CleanupStage) -> Restore:
    return back(qa, qa)


def restored(qa: CleanupStage) -> Restore:
    restore = back(qa)
    restore.deletions.add(qa)
    return restore


SPOILT: dict[str, Callable[[CleanupStage], object]] = {
    "not accepted": values(state="confirmed"),
    "too old": values(accepted_at=Now() - timedelta(seconds=timing.QA_EVIDENCE + 60)),
    "leftovers unexplained": left,
    "another scope": values(scope_digest="9" * 64),
    "a later environment": lambda qa: gate.tampered(qa.environment, order=9),
}


@pytest.mark.hazard("B28")
@pytest.mark.parametrize("what", SPOILT)
def test_what_is_no_evidence_is_not_shown(qa: CleanupStage, production: CleanupStage, what: str) -> None:
    with gate.past_the_triggers():
        SPOILT[what](qa)
    production = gate.stage_of(qa.request, "production")
    assert (missing(production), shown(production)) == (FIRST, [])


@pytest.mark.hazard("B28")
@pytest.mark.parametrize("names", [3, 1])
def test_a_clean_up_that_deleted_nothing_is_no_evidence(qa: CleanupStage, names: int) -> None:
    with gate.past_the_triggers():
        values(names=names, deleted=0, skipped=names)(qa)
    production = gate.stage_of(qa.request, "production")
    assert (missing(production), shown(production)) == (NOTHING, [])


def test_what_deleted_nothing_elsewhere_is_not_said_of_qa(qa: CleanupStage, production: CleanupStage) -> None:
    gate.tampered(qa, scope_digest="9" * 64, deleted=0)
    assert missing(production) == FIRST


@pytest.mark.hazard("B28")
@pytest.mark.parametrize("write_back", [undone, restored])
def test_a_clean_up_whose_keys_were_written_back_is_no_evidence(
    qa: CleanupStage, production: CleanupStage, write_back: Callable[[CleanupStage], Restore]
) -> None:
    restore = write_back(qa)
    assert (missing(production), shown(production)) == (BACK.format(restore.pk, "Qa"), [])
    gate.tampered(qa, scope_digest="9" * 64)
    assert missing(production) == FIRST


def test_a_restore_of_other_keys_spoils_nothing(qa: CleanupStage, production: CleanupStage) -> None:
    back(qa)
    assert (missing(production), shown(production)) == ("", [qa.pk])


GOOD: dict[str, Callable[[CleanupStage], object]] = {
    "almost too old": values(accepted_at=Now() - timedelta(seconds=timing.QA_EVIDENCE - 60)),
    "a single key": values(names=1, deleted=1),
    "one of three": values(deleted=1, skipped=2),
    "no keys, with a reason": values(names=0, deleted=0, empty_reason="QA has none"),
    "leftovers explained": lambda qa: left(qa, "the old job"),
    "a change that was deleted all the same": lambda qa: CleanupException.objects.create(
        stage=qa, index=0, name=gate.NAMES[0], outcome="vanished"
    ),
}


@pytest.mark.parametrize("what", GOOD)
def test_what_is_evidence_is_shown(qa: CleanupStage, production: CleanupStage, what: str) -> None:
    with gate.past_the_triggers():
        GOOD[what](qa)
    assert (missing(production), shown(production)) == ("", [qa.pk])


def reappeared(qa: CleanupStage, index: int = 1) -> Reappearance:
    return Reappearance.objects.create(stage=qa, index=index, name=gate.NAMES[index], same=True)


@pytest.mark.hazard("B8")
def test_keys_that_reappeared_must_be_noted_first(world: GateWorld, qa: CleanupStage, production: CleanupStage) -> None:
    again = reappeared(qa)
    assert (missing(production), shown(production)) == (AGAIN, [])
    gate.tampered(again, note="a nightly job", acknowledged_by=world.people.operator, acknowledged_at=Now())
    assert (missing(production), shown(production)) == ("", [qa.pk])


def test_of_several_the_newest_counts_and_none_stands_in_for_what_came_back(
    world: GateWorld, qa: CleanupStage, production: CleanupStage
) -> None:
    gate.tampered(qa.request, ended_at=Now())
    newer = gate.accepted(world, gate.asked(world))
    gate.tampered(qa, accepted_at=Now() - timedelta(days=1))
    assert shown(production) == [newer.pk]
    for stage, days in ((newer, 2), (qa, 1)):
        gate.tampered(stage, accepted_at=Now() - timedelta(days=days))
    assert shown(production) == [qa.pk]
    reappeared(qa)
    assert (missing(production), shown(production)) == (AGAIN, [])


def test_what_came_back_elsewhere_is_not_said_of_qa(
    world: GateWorld, qa: CleanupStage, production: CleanupStage
) -> None:
    gate.tampered(qa, scope_digest="9" * 64)
    reappeared(qa)
    assert missing(production) == FIRST


def test_what_came_back_of_what_counts_no_more_is_said_all_the_same(qa: CleanupStage, production: CleanupStage) -> None:
    with gate.past_the_triggers():
        left(qa)
    reappeared(qa)
    assert (missing(production), shown(production)) == (AGAIN, [])


def test_leftovers_of_another_clean_up_spoil_nothing(
    world: GateWorld, qa: CleanupStage, production: CleanupStage
) -> None:
    gate.tampered(qa.request, ended_at=Now())
    other = gate.accepted(world, gate.asked(world))
    with gate.past_the_triggers():
        left(other)
    assert (missing(production), shown(production)) == ("", [qa.pk])


def test_an_environment_after_production_is_none_before_it(qa: CleanupStage, production: CleanupStage) -> None:
    gate.tampered(qa, order=9)
    assert missing(gate.stage_of(qa.request, "production")) == qa_first.only_production("SETTINGS")


def test_production_alone_is_never_cleaned_up(world: GateWorld, qa: CleanupStage, production: CleanupStage) -> None:
    gate.tampered(qa.environment, production=True)
    assert missing(production) == qa_first.only_production("SETTINGS")
    assert "No earlier environment has SETTINGS" in qa_first.only_production("SETTINGS")


def test_what_is_no_production_needs_no_other(world: GateWorld, qa: CleanupStage, production: CleanupStage) -> None:
    gate.tampered(qa, order=9)
    gate.tampered(production.environment, production=False)
    assert missing(gate.stage_of(qa.request, "production")) == ""


def between(world: GateWorld, monkeypatch: pytest.MonkeyPatch) -> CleanupRequest:
    """A third environment before production, and a clean-up asked for in all three."""
    gate.tampered(world.production.environment, order=3)
    for ids in (make.NAMESPACES, make.ACCOUNTS, make.DATABASES):
        monkeypatch.setitem(ids, "staging", "7" * 32)
    staging = gate._environment("staging", 2).environment
    gate._lock(staging)
    searched.once(staging)
    return gate.asked(world)


def accepted_in_both(world: GateWorld, request: CleanupRequest) -> tuple[CleanupStage, CleanupStage]:
    """QA and staging, cleaned and accepted."""
    return gate.accepted(world, request), gate.accept(world, gate.proven(gate.started(world, request, "staging")))


def test_each_environment_before_it_is_named_in_its_order(world: GateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    request = between(world, monkeypatch)
    stage = gate.stage_of(request, "production")
    assert missing(stage) == FIRST
    first = gate.accepted(world, request)
    assert missing(stage).startswith("Clean up Staging first")
    second = gate.accept(world, gate.proven(gate.started(world, request, "staging")))
    assert (missing(stage), shown(stage)) == ("", [first.pk, second.pk])


def test_what_came_back_is_said_of_the_environment_that_is_missing(
    world: GateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = between(world, monkeypatch)
    first, second = accepted_in_both(world, request)
    reappeared(second)
    assert missing(gate.stage_of(request, "production")).startswith("Keys deleted in Staging reappeared")
    gate.tampered(first, accepted_at=Now() - timedelta(days=8))
    assert missing(gate.stage_of(request, "production")) == FIRST


def test_that_nothing_was_deleted_is_said_of_the_environment_that_is_missing(
    world: GateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = between(world, monkeypatch)
    first, second = accepted_in_both(world, request)
    gate.tampered(second, deleted=0)
    assert missing(gate.stage_of(request, "production")) == NOTHING.replace("Qa", "Staging")
    gate.tampered(first, accepted_at=Now() - timedelta(days=8))
    assert missing(gate.stage_of(request, "production")) == FIRST


def test_that_keys_were_written_back_is_said_of_the_environment_that_is_missing(
    world: GateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = between(world, monkeypatch)
    first, second = accepted_in_both(world, request)
    restore = undone(second)
    assert missing(gate.stage_of(request, "production")) == BACK.format(restore.pk, "Staging")
    gate.tampered(first, accepted_at=Now() - timedelta(days=8))
    assert missing(gate.stage_of(request, "production")) == FIRST


def test_another_family_s_rules_make_it_another_scope(qa: CleanupStage, production: CleanupStage) -> None:
    make.change_families("master:", encrypt=True)
    make.change_datasets(only_in_d1="allow")
    make.family("master:kept:", Category.CACHE)
    assert missing(gate.stage_of(qa.request, "production")) == (
        "Qa was accepted under other rules: Dataset masters: A row without a key is a difference → is allowed; "
        "Family SETTINGS master:*: Always encrypted no → yes; Family SETTINGS master:kept:*: added to the policy. "
        "End this clean-up and ask for it again: it begins in Qa."
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {
                "migrated_at": {"qa": "2025-09-01T00:00:00Z"},
                "newer_by": {"qa": ["updated_at", "time", "UTC"]},
            },
            "Moved to D1 at",
        ),
        ({"orphans": ["master:a:1"]}, "Keys without a row"),
    ],
)
def test_qa_s_evidence_is_void_once_the_dataset_says_since_when_rows_are_newer(
    qa: CleanupStage, production: CleanupStage, change: dict[str, object], told: str
) -> None:
    make.change_datasets(**change)
    said = missing(gate.stage_of(qa.request, "production"))
    assert said.startswith("Qa was accepted under other rules: Dataset masters:")
    assert told in said


def test_a_family_of_other_keys_leaves_qa_s_evidence_as_it_is(qa: CleanupStage, production: CleanupStage) -> None:
    make.family("stock:", Category.LEGACY)
    assert (missing(production), shown(production)) == ("", [qa.pk])


def test_a_clean_up_under_other_rules_says_how_to_go_on(world: GateWorld, qa: CleanupStage) -> None:
    make.change_families("master:", read="exact")
    browser = signed_in(world.people.operator)
    text = browser.get(f"/cleanup/{qa.request_id}/").content.decode()
    assert "Values are read in bulk → one by one" in text
    assert f'href="/cleanup/{qa.request_id}/#end"' in text
    assert '<details id="end" open>' in text
    browser.post(f"/cleanup/{qa.request_id}/end", {"reason": "other rules"})
    text = browser.get(f"/cleanup/{qa.request_id}/").content.decode()
    assert 'href="/cleanup/new/?binding=SETTINGS&amp;prefix=master%3A"' in text
