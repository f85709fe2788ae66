"""Keys under the prefix that are not of the clean-up: counted by the proof, explained before the stage is accepted."""

import pytest
from django.db import IntegrityError

from audit.actions import Action
from audit.models import Entry
from backups.cleanup import completion, evidence as cleanup_evidence, requests as cleanup_requests
from backups.cleanup.next_action import next_action
from backups.cleanup.stages import CleanupRefused
from backups.deletion import listing
from backups.models import CleanupStage
from kvops import timing
from kvops.models import Category
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
State = CleanupStage.State
LATER = "master:z:9"


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def not_empty(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, proven; the application wrote a master after the list of keys was fixed."""
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.approved(request, people)
    estate.put(estate.qa, LATER, b"written later")
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    return cleanup_helpers.stage_of(request)


def shown(people: make.People, address: str) -> str:
    return signed_in(people.operator).get(address).content.decode()


def explain(stage: CleanupStage, people: make.People) -> None:
    completion.explain_others(stage, note="the import job still writes masters", by=people.operator2)
    stage.refresh_from_db()


def accept(stage: CleanupStage, people: make.People) -> None:
    completion.accept_stage(stage, note="all went well", by=people.operator)
    stage.refresh_from_db()


def test_the_proof_counts_and_keeps_the_keys_that_are_not_of_the_clean_up(not_empty: CleanupStage) -> None:
    assert (not_empty.state, not_empty.deleted) == (State.CONFIRMED, 3)
    assert (not_empty.others, not_empty.remaining) == (1, 1)
    assert list(not_empty.other_names.values_list("name", flat=True)) == [LATER]
    assert Entry.objects.get(action=Action.STAGE_CONFIRMED).details["others"] == 1


def test_the_stage_is_accepted_after_a_person_explained_them(not_empty: CleanupStage, people: make.People) -> None:
    with pytest.raises(CleanupRefused, match="Explain the other keys under the prefix first"):
        accept(not_empty, people)
    explain(not_empty, people)
    accept(not_empty, people)
    assert (not_empty.state, not_empty.others_by) == (State.ACCEPTED, people.operator2)
    entry = Entry.objects.get(action=Action.OTHERS_EXPLAINED)
    assert entry.details == {"keys": 1, "note": "the import job still writes masters"}


def test_the_database_accepts_no_stage_with_unexplained_keys(
    not_empty: CleanupStage, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "unexplained_others", lambda _stage: 0)
    monkeypatch.setattr(completion, "PLANNED", "")
    with pytest.raises(IntegrityError, match="explain"):
        accept(not_empty, people)


def test_the_explanation_is_the_next_action(not_empty: CleanupStage, people: make.People) -> None:
    action = next_action(not_empty, people.operator)
    assert action is not None
    assert (action.url_name, action.label) == ("backups:stage_others", "Explain the other keys under the prefix")
    explain(not_empty, people)
    action = next_action(not_empty, people.operator)
    assert action is not None
    assert action.url_name == "backups:stage_accept"


def test_a_name_that_was_gone_before_the_deletion_and_is_listed_again_is_another_key(
    estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.approved(request, people)
    name = cleanup_helpers.NAMES[0]
    estate.cloudflare.namespace(estate.qa.namespace_id).delete(name)
    cleanup_requests.start_deletion(stage, by=people.operator)
    estate.cloudflare.hook("keys", lambda _: estate.put(estate.qa, name, b"anew"))
    make.work()
    stage.refresh_from_db()
    assert (stage.state, stage.deleted, stage.others, stage.remaining) == (State.CONFIRMED, 2, 1, 1)
    assert stage.other_names.get().name == name


def test_a_clean_up_of_one_key_has_no_other_keys(estate: make.Estate, people: make.People) -> None:
    make.family("mail:", Category.CACHE)
    for name in ("mail:a", "mail:a:b"):
        estate.put(estate.qa, name)
    cleanup_helpers.scan(estate.qa, estate.production)
    request = cleanup_requests.request(
        binding="SETTINGS", prefix="mail:a", exact=True, reason="unused as agreed", by=people.operator
    )
    assert cleanup_helpers.confirmed(request, people).others == 0


def test_all_are_counted_and_the_first_are_kept(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "OTHERS_KEPT", 2)
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.approved(request, people)
    for number in range(5):
        estate.put(estate.qa, f"master:z:{number}")
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    stage.refresh_from_db()
    assert (stage.others, stage.other_names.count()) == (5, 2)


def test_the_reviewer_of_production_reads_them(not_empty: CleanupStage, people: make.People) -> None:
    explain(not_empty, people)
    accept(not_empty, people)
    shown = cleanup_evidence.build(cleanup_helpers.prepared(not_empty.request, people, "production"))
    note = "the import job still writes masters"
    by = str(people.operator2)
    assert shown["qa"][0]["others"] == {"count": 1, "sample": [LATER], "note": note, "by": by}  # type: ignore[index]
    assert {"code": "qa_others", "environment": "QA", "count": 1} in shown["warnings"]  # type: ignore[operator]


def test_the_reviewer_of_production_reads_the_leftovers(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    estate.put(estate.qa, "master:a:1", b"written after the backup")
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    completion.explain_leftovers(stage, note="the old job saved it again", by=people.operator)
    accept(stage, people)
    approval = cleanup_helpers.submitted(stage.request, people, "production").approval
    page = signed_in(people.reviewer).get(f"/approvals/{approval and approval.pk}/").content.decode()
    told = page.partition("Earlier clean-up of the same scope")[2].partition("Decision")[0]
    assert [word for word in ("Leftover keys", "master:a:1", "the old job saved it again") if word not in told] == []


def test_the_pages_say_how_many_keys_are_left(not_empty: CleanupStage, people: make.People) -> None:
    operator = signed_in(people.operator)
    address = f"/cleanup/{not_empty.request_id}/"
    assert "1 key under the prefix is not of this clean-up" in shown(people, address)
    operator.post(f"/cleanup/stages/{not_empty.pk}/others", {"note": "the import job"})
    accept(not_empty, people)
    assert LATER in shown(people, f"/cleanup/stages/{not_empty.pk}/?show=others")


def test_done_says_how_many_keys_are_left(not_empty: CleanupStage, people: make.People) -> None:
    explain(not_empty, people)
    accept(not_empty, people)
    request = not_empty.request
    production = cleanup_helpers.confirmed(request, people, "production")
    accept(production, people)
    for address in ("/cleanup/", f"/cleanup/{request.pk}/"):
        page = shown(people, address)
        assert "Done" in page
        assert "1 key is left under the prefix" in page
