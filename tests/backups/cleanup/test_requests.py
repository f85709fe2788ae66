"""Clean-up: what is refused, what a stage needs to move, and what its evidence says."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from audit.actions import Action
from audit.models import Entry
from backups import archive
from backups.cleanup import (
    completion,
    evidence as cleanup_evidence,
    preparation,
    qa as qa_first,
    requests as cleanup_requests,
    stages,
)
from backups.cleanup.stages import CleanupRefused
from backups.generations import start as generation_start
from backups.models import CleanupRequest, CleanupStage, Generation
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.approvals.evidence import canonical_evidence, digest_of
from kvops.models import (
    ApprovalRequest,
    Category,
    Environment,
    Namespace,
    Run,
    Scan,
)
from tests import make
from tests.audit.make import triggers_off
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers

pytestmark = pytest.mark.django_db
State = CleanupStage.State
NAMES = cleanup_helpers.NAMES


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def request_(estate: make.Estate, people: make.People) -> CleanupRequest:
    """A clean-up of `master:`, asked for and nothing more."""
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people)


def actions(subject: str) -> list[str]:
    return list(Entry.objects.filter(subject=subject).order_by("seq").values_list("action", flat=True))


# Asking


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("mail:", "deleted one at a time"),
        ("unknown:", "not classified"),
        ("master", "not one family"),
        ("", "not one family"),
    ],
)
def test_only_cache_and_legacy_can_be_cleaned_up(
    estate: make.Estate, people: make.People, prefix: str, why: str
) -> None:
    make.family("mail:", Category.SETTINGS)
    with pytest.raises(CleanupRefused, match=why):
        cleanup_helpers.asked(people, prefix)


def test_a_legacy_family_needs_a_dataset(estate: make.Estate, people: make.People) -> None:
    with pytest.raises(CleanupRefused, match="no dataset"):
        cleanup_helpers.asked(people)


def test_a_cache_family_needs_none(estate: make.Estate, people: make.People) -> None:
    assert cleanup_helpers.asked(people, "mastercache:").category == "cache"


def test_one_clean_up_of_a_family_is_open_at_a_time(request_: CleanupRequest, people: make.People) -> None:
    with pytest.raises(CleanupRefused, match="already open"):
        cleanup_helpers.asked(people, "master:a:")
    completion.end(request_, reason="a mistake of mine", by=people.operator)
    assert cleanup_helpers.asked(people, "master:a:").pk != request_.pk


@pytest.mark.parametrize("who", ["reviewer", "auditor", "nobody"])
def test_only_an_operator_asks(estate: make.Estate, people: make.People, who: str) -> None:
    with pytest.raises(CleanupRefused, match="operator"):
        cleanup_requests.request(
            binding="SETTINGS", prefix="mastercache:", reason="no longer needed", by=getattr(people, who)
        )


def test_there_is_a_stage_for_every_environment_in_order(request_: CleanupRequest) -> None:
    stages = request_.stages.order_by("order").values_list("environment__slug", "state")
    assert list(stages) == [("qa", "waiting"), ("production", "waiting")]


# Names


def test_the_names_are_the_family_s_and_no_others(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    make.family("master:kept:", Category.CACHE)
    for name in ("master:kept:1", "mastercache:1", "system-root"):
        estate.put(estate.qa, name)
    cleanup_helpers.scan(estate.qa)
    stage = cleanup_helpers.stage_of(request_)
    assert preparation.freeze_stage(stage, by=people.operator) == 3
    assert list(stage.entries.order_by("index").values_list("name", flat=True)) == list(NAMES)


def test_a_prefix_of_the_family_takes_only_what_is_below_it(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people, "master:a:"))
    assert preparation.freeze_stage(stage, by=people.operator) == 2


def test_the_digest_of_the_names_can_be_made_by_anybody(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.stage_of(request_)
    preparation.freeze_stage(stage, by=people.operator)
    assert stage.names_sha256 == archive.names_sha256(sorted(NAMES))


def test_names_come_from_a_scan_within_a_day(request_: CleanupRequest, people: make.People) -> None:
    Scan.objects.update(completed_at=Now() - timedelta(hours=25))
    with pytest.raises(CleanupRefused, match="Scan it first"):
        preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)


def test_a_scan_of_another_prefix_does_not_count(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    Scan.objects.update(prefix="mastercache:")
    with pytest.raises(CleanupRefused, match="Scan it first"):
        preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)


def test_names_can_be_frozen_again_until_they_are_submitted(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.prepared(request_, people)
    assert stage.state == State.CHECKED
    preparation.freeze_stage(stage, by=people.operator)
    assert (stage.state, stage.generation, stage.check_passed) == (State.FROZEN, None, None)
    cleanup_requests.submit(cleanup_helpers.prepared(request_, people), by=people.operator)
    with pytest.raises(CleanupRefused, match="cannot be fixed"):
        preparation.freeze_stage(stage, by=people.operator)


# Preparing


def test_one_click_leads_to_a_checked_backup(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.prepared(request_, people)
    assert stage.state == State.CHECKED
    assert actions(f"stage:{stage.pk}") == ["stage.frozen", "stage.backed_up", "stage.verified", "stage.checked"]


def test_cache_needs_no_check(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "mastercache:1")
    cleanup_helpers.scan(estate.qa, estate.production)
    assert cleanup_helpers.prepared(cleanup_helpers.asked(people, "mastercache:"), people).state == State.VERIFIED


def test_a_check_made_on_the_side_does_not_move_a_cache_stage(estate: make.Estate, people: make.People) -> None:
    generation_helpers.dataset(
        prefix="mastercache:", key="mastercache:{id}", fields={"id": "id"}, ignore=["type", "name"]
    )
    generation_helpers.rows(estate, ("a", "1", "x"))
    estate.put(estate.qa, "mastercache:1", b'{"id": "1"}')
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people, "mastercache:"), people)
    assert stage.generation is not None
    check = make.check(stage.generation)
    make.work()
    check.refresh_from_db()
    assert (check.outcome, cleanup_helpers.stage_of(stage.request).state) == ("passed", State.VERIFIED)


def test_a_difference_with_d1_holds_the_stage_until_it_is_corrected(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute("UPDATE masters SET name = 'else' WHERE type = 'b'")
    database.commit()
    stage = cleanup_helpers.prepared(request_, people)
    assert stage.state == State.VERIFIED
    assert "differences with D1: 1." in stage.returned_because
    database.execute("PRAGMA query_only = 0")
    database.execute("UPDATE masters SET name = 'No. 1' WHERE type = 'b'")
    database.commit()
    preparation.prepare_stage(stage, by=people.operator)
    make.work()
    assert cleanup_helpers.stage_of(request_).state == State.CHECKED


def test_a_partial_backup_satisfies_nothing(request_: CleanupRequest, estate: make.Estate, people: make.People) -> None:
    preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    estate.cloudflare.namespace(estate.qa.namespace_id).delete(NAMES[0])
    preparation.prepare_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    make.work()
    stage = cleanup_helpers.stage_of(request_)
    assert stage.state == State.FROZEN
    assert "partial" in stage.returned_because


def test_a_damaged_backup_leads_back_to_the_names(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.prepared(request_, people)
    assert stage.generation is not None
    key = stage.generation.parts.get().object_key
    estate.s3.objects[key] = estate.s3.objects[key].replace(b"No. 1", b"No. 9")
    generation_start.start_verification(stage.generation, actor=make.SETUP)
    make.work()
    stage = cleanup_helpers.stage_of(request_)
    assert (stage.state, stage.returned_because[:21]) == (State.FROZEN, "The backup is damaged")


def test_a_failed_step_is_tried_again_where_it_failed(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    estate.cloudflare.fault("bulk_get", "challenge")
    first = preparation.prepare_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    make.work()
    first.refresh_from_db()
    assert first.state == Run.State.FAILED
    assert preparation.prepare_stage(cleanup_helpers.stage_of(request_), by=people.operator) == first
    make.work()
    assert cleanup_helpers.stage_of(request_).state == State.CHECKED


def test_nothing_is_prepared_while_a_run_works_for_the_stage(request_: CleanupRequest, people: make.People) -> None:
    preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    run = preparation.prepare_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    for step in (preparation.freeze_stage, preparation.prepare_stage, cleanup_requests.submit):
        with pytest.raises(CleanupRefused, match=f"Wait for run {run.pk}"):
            step(cleanup_helpers.stage_of(request_), by=people.operator)


def test_a_dataset_without_its_database_is_said_on_the_stage(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    make.change_datasets(database="NOWHERE")
    stage = cleanup_helpers.prepared(request_, people)
    assert stage.state == State.VERIFIED
    assert "NOWHERE" in stage.returned_because


# Submitting


def test_submitting_needs_a_backup_verified_within_a_day(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.prepared(request_, people)
    Generation.objects.update(verified_at=Now() - timedelta(hours=25))
    with pytest.raises(CleanupRefused, match="Verify it again"):
        cleanup_requests.submit(stage, by=people.operator)
    preparation.prepare_stage(stage, by=people.operator)
    make.work()
    cleanup_requests.submit(stage, by=people.operator)


@pytest.mark.parametrize(("slug", "why"), [("qa", "not ready"), ("production", "Clean up QA first")])
def test_submitting_needs_a_stage_that_is_ready(
    request_: CleanupRequest, people: make.People, slug: str, why: str
) -> None:
    with pytest.raises(CleanupRefused, match=why):
        cleanup_requests.submit(cleanup_helpers.stage_of(request_, slug), by=people.operator)


def test_a_decision_the_operator_does_not_like_leads_back_to_the_names(
    request_: CleanupRequest, people: make.People
) -> None:
    stage = cleanup_helpers.submitted(request_, people)
    pending = ApprovalRequest.objects.get(cleanupstage=stage)
    approval_gate.reject(pending, by=people.reviewer, shown=pending.digest, reason="not this week")
    stage.refresh_from_db()
    assert (stage.state, stage.approval) == (State.FROZEN, None)
    assert "not this week" in stage.returned_because


@pytest.mark.parametrize("moment", ["submitted", "approved"])
def test_withdrawing_leads_back_and_nobody_is_said_to_have_decided(
    request_: CleanupRequest, people: make.People, moment: str
) -> None:
    stage = getattr(cleanup_helpers, moment)(request_, people)
    approval_gate.withdraw(ApprovalRequest.objects.get(cleanupstage=stage), by=people.operator)
    stage.refresh_from_db()
    assert stage.state == State.FROZEN
    assert Entry.objects.get(action=Action.STAGE_RETURNED).actor == "system:approvals"


def test_time_that_is_over_leads_back(
    request_: CleanupRequest, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "DECIDE_WITHIN", 0)
    stage = cleanup_helpers.submitted(request_, people)
    assert approval_gate.expire() == 1
    stage.refresh_from_db()
    assert stage.state == State.FROZEN


# The evidence


def changed(**values: object) -> Callable[[CleanupStage], object]:
    return lambda stage: Environment.objects.filter(pk=stage.environment_id).update(**values)


def another_manifest(stage: CleanupStage) -> None:
    with triggers_off("backups_generation"):
        Generation.objects.filter(stages=stage).update(manifest_sha256="9" * 64)


CHANGES: dict[str, Callable[[CleanupStage], object]] = {
    "account": changed(account_id="c" * 32),
    "bucket": changed(r2_bucket="elsewhere"),
    "namespace": lambda stage: Namespace.objects.filter(pk=stage.namespace_id).update(namespace_id="9" * 32),
    "title": lambda stage: Namespace.objects.filter(pk=stage.namespace_id).update(title="another"),
    "policy": lambda _: make.another_policy(),
    "dataset": lambda _: make.change_datasets(ignore=[]),
    "backup": lambda _: Generation.objects.update(status="damaged"),
    "manifest": another_manifest,
}


def digest(stage: CleanupStage) -> str:
    return digest_of(canonical_evidence(cleanup_evidence.build(cleanup_helpers.stage_of(stage.request))))


def test_the_evidence_is_the_same_when_it_is_derived_again(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.approved(request_, people)
    assert stage.approval is not None
    assert digest(stage) == stage.approval.digest


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.hazard("4.2.8", "4.2.9")
def test_whatever_changes_after_the_approval_the_deletion_does_not_start(
    request_: CleanupRequest, estate: make.Estate, people: make.People, change: str
) -> None:
    stage = cleanup_helpers.approved(request_, people)
    CHANGES[change](stage)
    policy_changed = "policy changed from version"
    reasons = {"policy": policy_changed, "dataset": policy_changed, "backup": "backup is no longer verified"}
    why = reasons.get(change, "keys to delete differ from the approved")
    with pytest.raises(CleanupRefused, match=f"The {why}.* Prepare the stage again"):
        cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    assert estate.cloudflare.calls("bulk_delete") == []
    stage.refresh_from_db()
    assert (stage.state, stage.run) == (State.FROZEN, None)


def test_the_scope_is_equal_in_qa_and_production(request_: CleanupRequest) -> None:
    qa, production = cleanup_helpers.stage_of(request_), cleanup_helpers.stage_of(request_, "production")
    assert qa_first.scope_digest(qa) == qa_first.scope_digest(production)


def test_the_evidence_says_what_a_reviewer_asks(request_: CleanupRequest, people: make.People) -> None:
    shown = cleanup_evidence.build(cleanup_helpers.submitted(request_, people))
    assert shown["names"] == {
        "count": 3,
        "sha256": archive.names_sha256(NAMES),
        "first": NAMES[0],
        "last": NAMES[2],
        "sample": list(NAMES),
        "scan": Scan.objects.get(namespace__environment__slug="qa").pk,
    }
    assert (shown["production"], shown["qa"], shown["warnings"]) == (False, [], [{"code": "read_in_bulk"}])


# Production


@pytest.mark.parametrize("step", [preparation.freeze_stage, cleanup_requests.submit])
def test_production_comes_after_qa(request_: CleanupRequest, people: make.People, step: Callable[..., object]) -> None:
    cleanup_helpers.confirmed(request_, people)
    with pytest.raises(CleanupRefused, match="Clean up QA first"):
        step(cleanup_helpers.stage_of(request_, "production"), by=people.operator)


@pytest.mark.hazard("B28")
def test_qa_evidence_is_of_code_that_decides_by_the_same_rules(
    request_: CleanupRequest, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleanup_helpers.accepted(request_, people)
    monkeypatch.setattr(qa_first, "FORMAT", qa_first.FORMAT + 1)
    with pytest.raises(CleanupRefused, match="Clean up QA first"):
        preparation.freeze_stage(cleanup_helpers.stage_of(request_, "production"), by=people.operator)


def test_the_reviewer_of_production_sees_what_was_tried_in_qa(request_: CleanupRequest, people: make.People) -> None:
    cleanup_helpers.accepted(request_, people)
    shown = cleanup_evidence.build(cleanup_helpers.submitted(request_, people, "production"))
    assert isinstance(shown["qa"], list)
    assert shown["qa"][0]["note"] == "Opened the pages, all well"
    assert shown["qa"][0]["deleted"] == 3


# Accepting and ending


def test_a_clean_up_ends_once_and_then_nothing_of_it_moves(request_: CleanupRequest, people: make.People) -> None:
    completion.end(request_, reason="a mistake of mine", by=people.operator)
    with pytest.raises(CleanupRefused, match="already over"):
        completion.end(request_, reason="again as agreed", by=people.operator)
    with pytest.raises(CleanupRefused, match="over"):
        preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)


@pytest.mark.usefixtures("not_read_back")
def test_a_backup_that_is_finished_after_the_end_moves_nothing(request_: CleanupRequest, people: make.People) -> None:
    preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    preparation.prepare_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    completion.end(request_, reason="a mistake of mine", by=people.operator)
    make.work()
    assert Generation.objects.get().status == "complete"
    assert cleanup_helpers.stage_of(request_).state == State.ENDED


def test_the_record_tells_the_whole_story(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.accepted(request_, people)
    assert actions(f"stage:{stage.pk}") == [
        "stage.frozen",
        "stage.backed_up",
        "stage.verified",
        "stage.checked",
        "stage.submitted",
        "stage.approved",
        "stage.deleting",
        "chunk.intended",
        "chunk.settled",
        "stage.deleted",
        "stage.confirmed",
        "stage.checked_again",
        "stage.accepted",
    ]
    assert not Entry.objects.filter(details__icontains="No. 1").exists()


def test_a_production_stage_without_one_before_it_is_refused_at_every_step(
    estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people))
    Environment.objects.filter(slug="qa").update(production=True)
    with pytest.raises(CleanupRefused, match="No earlier environment has"):
        preparation.freeze_stage(stage, by=people.operator)


def test_a_backup_in_another_bucket_is_not_fresh(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    assert stages.backup_is_fresh(stage)
    Environment.objects.update(r2_bucket="another")
    assert not stages.backup_is_fresh(stage)


@pytest.mark.usefixtures("encrypting")
def test_an_open_clean_up_of_one_key_is_named_without_a_star(estate: make.Estate, people: make.People) -> None:
    make.family("api-key:", Category.SETTINGS)
    make.family("flag", Category.CACHE, exact=True)

    def ask(name: str) -> CleanupRequest:
        return cleanup_requests.request(
            binding="SETTINGS", prefix=name, exact=True, reason="of the old pages", by=people.operator
        )

    ask("api-key:fax")
    with pytest.raises(CleanupRefused, match=r"of api-key:fax is already open\. A family has one at a time"):
        ask("api-key:mail")
    cleanup_requests.record_refusal_of_cleanup(estate.qa, "flag", CleanupRefused("no"), actor=make.SETUP)
    assert Entry.objects.get(action=Action.REFUSED).subject_label == f"{estate.qa} flag"
