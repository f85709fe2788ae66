"""Answers to code references: by whom, to which places, when, and what a follow-up needs."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from audit.models import Entry
from backups.cleanup import references as code_references, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupRequest, CleanupStage
from kvops import clock
from kvops.models import Family, Person, ReferenceAnswer, ReferenceHit
from tests import make, searched
from tests.gate import world as gate
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db
WRITER, READER = "src/a.ts:7 write certain SETTINGS master:*", "src/b.ts:9 read possible SETTINGS master:a:*"
OTHER = "src/c.ts:1 read certain SETTINGS mastercache:*"


def today() -> date:
    return timezone.localdate(clock.now())


@pytest.fixture
def stage(world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    """QA with two places to answer, before it is submitted."""
    searched.search(world.qa.environment, hits=[WRITER, READER, OTHER])
    return gate.stage_of(request_)


def hits(*files: str) -> list[int]:
    return list(ReferenceHit.objects.filter(file__in=files).values_list("pk", flat=True))


def answered(world: GateWorld, stage: CleanupStage, *files: str, **more: object) -> None:
    given: dict[str, object] = {"kind": "falls_back", "reason": " reads D1 first ", "by": world.people.operator, **more}
    code_references.answer(stage, hits=hits(*(files or ("src/a.ts", "src/b.ts"))), **given)  # type: ignore[arg-type]


def follow_up(world: GateWorld, **more: object) -> dict[str, object]:
    return {"kind": "follow_up", "follow_up": "d1", "owner": world.people.operator2, "due": today(), **more}


def test_each_place_gets_the_answer_of_the_person(world: GateWorld, stage: CleanupStage) -> None:
    answered(world, stage)
    found = ReferenceAnswer.objects.order_by("hit__file")
    assert [(one.hit.file, one.fingerprint, one.kind, one.reason, one.by, one.family) for one in found] == [
        (hit.file, hit.fingerprint, "falls_back", "reads D1 first", world.people.operator, stage.request.family)
        for hit in ReferenceHit.objects.filter(file__in=["src/a.ts", "src/b.ts"]).order_by("file")
    ]
    assert {(one.follow_up, one.owner, one.due) for one in found} == {("", None, None)}


def test_the_audit_log_has_the_answer(world: GateWorld, stage: CleanupStage) -> None:
    answered(world, stage)
    entry = Entry.objects.get(action="references.answered")
    assert (entry.actor_id, entry.environment, entry.subject) == (world.people.operator.pk, "qa", f"stage:{stage.pk}")
    assert entry.subject_label == str(stage)[:200]
    assert entry.details == {
        "hits": 2, "places": ["src/a.ts:7", "src/b.ts:9"], "kind": "falls_back", "reason": "reads D1 first",
    }  # fmt: skip


def test_the_audit_log_has_the_follow_up(world: GateWorld, stage: CleanupStage) -> None:
    answered(world, stage, "src/a.ts", **follow_up(world))
    details = Entry.objects.get(action="references.answered").details
    assert (details["follow_up"], details["owner"], details["due"]) == ("d1", str(world.people.operator2), str(today()))
    made = ReferenceAnswer.objects.get()
    assert (made.kind, made.follow_up, made.owner, made.due) == ("follow_up", "d1", world.people.operator2, today())


def test_long_texts_and_many_places_are_cut_in_the_audit_log(world: GateWorld, stage: CleanupStage) -> None:
    many = [f"{'d' * 320}/{number:02}.ts:7 read certain SETTINGS master:*" for number in range(22)]
    searched.search(world.qa.environment, hits=many)
    chosen = list(ReferenceHit.objects.filter(search__hit_count=22).values_list("pk", flat=True))
    code_references.answer(stage, hits=chosen, kind="falls_back", reason="xy" * 251, by=world.people.operator)
    details = Entry.objects.get(action="references.answered").details
    assert (details["hits"], len(details["places"]), len(details["places"][0])) == (22, 20, 300)
    assert details["reason"] == "xy" * 250


def test_a_follow_up_is_due_today_at_the_earliest(world: GateWorld, stage: CleanupStage) -> None:
    with pytest.raises(CleanupRefused, match="The due date is in the past"):
        answered(world, stage, **follow_up(world, due=today() - timedelta(days=1)))
    assert not ReferenceAnswer.objects.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"follow_up": "someday"}, "needs the change to make, an owner and a due date"),
        ({"follow_up": ""}, "needs the change to make, an owner and a due date"),
        ({"due": None}, "needs the change to make, an owner and a due date"),
        ({"owner": None}, "needs an active account"),
    ],
)
def test_a_follow_up_without_a_part_is_refused(
    world: GateWorld, stage: CleanupStage, change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(CleanupRefused, match=sentence):
        answered(world, stage, **follow_up(world, **change))
    assert not ReferenceAnswer.objects.exists()


def test_the_owner_of_a_follow_up_can_sign_in(world: GateWorld, stage: CleanupStage) -> None:
    make.deactivate(world.people.operator2)
    with pytest.raises(CleanupRefused, match="needs an active account"):
        answered(world, stage, **follow_up(world))
    nobody = Person.objects.create(name="Gone", email="gone@example.com")
    with pytest.raises(CleanupRefused, match="needs an active account"):
        answered(world, stage, **follow_up(world, owner=nobody))


@pytest.mark.parametrize("kind", ["unrelated", "falls_back"])
def test_no_other_answer_ends_an_open_follow_up(world: GateWorld, stage: CleanupStage, kind: str) -> None:
    answered(world, stage, "src/a.ts", **follow_up(world))
    with pytest.raises(CleanupRefused, match=r"src/a\.ts:7 has an open follow-up, which only a later search"):
        answered(world, stage, kind=kind)
    assert ReferenceAnswer.objects.count() == 1
    answered(world, stage, "src/b.ts", kind=kind)
    answered(world, stage, "src/b.ts", kind="unrelated")
    answered(world, stage, "src/a.ts", **follow_up(world, owner=world.people.operator))
    assert ReferenceAnswer.objects.filter(hit__file="src/a.ts").latest("pk").owner == world.people.operator


def test_the_fields_of_a_follow_up_are_left_out_of_another_answer(world: GateWorld, stage: CleanupStage) -> None:
    answered(world, stage, **follow_up(world, kind="falls_back", due=today() - timedelta(days=9), follow_up="someday"))
    assert ReferenceAnswer.objects.filter(follow_up="", owner=None, due=None).count() == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "harmless"}, "Choose an answer"),
        ({"reason": "  "}, "Give the reason for your answer"),
        ({"by": "auditor"}, "operator"),
    ],
)
def test_an_answer_names_its_kind_its_reason_and_an_operator(
    world: GateWorld, stage: CleanupStage, change: dict[str, object], sentence: str
) -> None:
    by = getattr(world.people, str(change.get("by", "operator")))
    with pytest.raises(CleanupRefused, match=sentence):
        answered(world, stage, **{**change, "by": by})
    assert not ReferenceAnswer.objects.exists()


@pytest.mark.parametrize("files", [(), ("src/c.ts",), ("src/a.ts", "src/c.ts")])
def test_only_places_of_these_keys_are_answered(world: GateWorld, stage: CleanupStage, files: tuple[str, ...]) -> None:
    with pytest.raises(CleanupRefused, match="These hits are not of the newest search for these keys"):
        code_references.answer(
            stage, hits=hits(*files), kind="unrelated", reason="no longer needed", by=world.people.operator
        )
    assert not ReferenceAnswer.objects.exists()


def test_a_place_of_an_older_search_is_not_answered(world: GateWorld, stage: CleanupStage) -> None:
    old = hits("src/a.ts")
    searched.search(world.qa.environment, hits=[WRITER])
    with pytest.raises(CleanupRefused, match="These hits are not of the newest search"):
        code_references.answer(stage, hits=old, kind="unrelated", reason="no longer needed", by=world.people.operator)


def over(world: GateWorld, stage: CleanupStage) -> None:
    CleanupRequest.objects.filter(pk=stage.request_id).update(ended_at=Now(), ended_by="x")


def submitted(world: GateWorld, stage: CleanupStage) -> None:
    answered(world, stage)
    cleanup_requests.submit(gate.checked(stage.request), by=world.people.operator)


CLOSED: list[tuple[Callable[[GateWorld, CleanupStage], None], str]] = [
    (over, "The clean-up is over"),
    (submitted, "A stage was already submitted with the earlier answers"),
]


@pytest.mark.parametrize(("change", "sentence"), CLOSED)
def test_what_a_request_rests_on_gets_no_other_answer(
    world: GateWorld, stage: CleanupStage, change: Callable[[GateWorld, CleanupStage], None], sentence: str
) -> None:
    change(world, stage)
    before = ReferenceAnswer.objects.count()
    with pytest.raises(CleanupRefused, match=sentence):
        answered(world, stage, kind="unrelated")
    assert ReferenceAnswer.objects.count() == before


def test_the_stage_of_another_environment_gets_no_other_answer_either(world: GateWorld, stage: CleanupStage) -> None:
    submitted(world, stage)
    with pytest.raises(CleanupRefused, match="A stage was already submitted with the earlier answers"):
        answered(world, gate.stage_of(stage.request, "production"))


def test_an_answer_is_of_the_family_of_the_clean_up(world: GateWorld, stage: CleanupStage) -> None:
    answered(world, stage)
    assert set(ReferenceAnswer.objects.values_list("family", flat=True)) == {
        Family.objects.get(binding="SETTINGS", pattern="master:").pk
    }
