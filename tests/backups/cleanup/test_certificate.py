"""The certificate of a clean-up: each step of the policy with its proof, in every state of the clean-up."""

import json
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit import log
from backups.cleanup import (
    certificate,
    certificate_files,
    completion,
    references as code_references,
    requests as cleanup_requests,
)
from backups.cleanup.proofs import Proof
from backups.deletion import chunks as deletion_chunks
from backups.generations import start as generation_start
from backups.models import Check, CleanupException, CleanupRequest, CleanupStage, Generation
from backups.restores import undo
from kvops import clock, timing
from kvops.approvals import evidence, risks
from kvops.models import Environment, ReferenceAnswer
from kvops.wording import moment
from tests import make, searched
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.gate import world as gate
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
POLICY = ["5.1", "5.2", "5.3", "5.4", "6"]


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def asked(estate: make.Estate, people: make.People) -> CleanupRequest:
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people)


def page(client: Client, cleanup: CleanupRequest, kind: str = "") -> str:
    response = client.get(f"/cleanup/{cleanup.pk}/certificate/{kind}")
    assert response.status_code == 200
    text = b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]
    return text.decode() if kind else " ".join(text.decode().split())


def missing(cleanup: CleanupRequest) -> set[tuple[str, str]]:
    lines = [line for section in certificate.build(cleanup).sections for line in section.lines]
    return {(line.environment, line.title) for line in lines if line.state == "missing"}


def test_a_new_clean_up_says_every_step_as_missing(asked: CleanupRequest, people: make.People) -> None:
    made = certificate.build(asked)
    assert [section.rule for section in made.sections] == POLICY
    assert made.state == "Not complete. Not cleaned and accepted yet: QA, Production."
    steps = {
        "Fix the list of keys",
        "Search the code",
        "Back up",
        "Verify the backup",
        "Share the backup with the team",
        "Delete",
        "Approval by another person",
    }
    assert {(name, step) for name in ("QA", "Production") for step in steps} <= missing(asked)
    assert "Missing: this was not done." in page(signed_in(people.auditor), asked)


def test_each_step_that_was_done_has_its_proof(asked: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.accepted(asked, people)
    asked.refresh_from_db()
    assert {name for name, _ in missing(asked)} == {"Production"}
    shown = page(signed_in(people.auditor), asked)
    assert stage.generation is not None
    assert stage.approval is not None
    for proof in (stage.names_sha256, stage.generation.manifest_sha256, stage.approval.digest):
        assert proof in shown
    for said in (
        "3 deleted, 0 left out",
        "Listed twice without them",
        "Opened the pages, all well",
        "#kv-cleanup",
    ):
        assert said in shown
    assert "Asked for by Operator &lt;operator@example.com&gt;, approved by Reviewer" in shown
    for digested in ("names", "report of the search", "manifest", "rule of the dataset", "approved content"):
        assert f"{digested}, SHA-256: <" in shown
    assert "3 names" in shown
    assert "Not complete. Not cleaned and accepted yet: Production." in shown


def test_a_completed_clean_up_is_complete_until_its_keys_come_back(asked: CleanupRequest, people: make.People) -> None:
    cleanup_helpers.accepted(asked, people)
    stage = cleanup_helpers.accepted(asked, people, "production")
    asked.refresh_from_db()
    assert certificate.build(asked).valid
    undo.start_undo(stage, by=people.operator)
    make.work()
    made = certificate.build(asked)
    told = "Not valid any more: deleted keys were written back in Production. Production: 3 of 3 deleted keys came back"
    assert (made.state.startswith(told), made.valid) == (True, False)
    assert "3 of 3 deleted keys came back by restore" in page(signed_in(people.auditor), asked)


def line(cleanup: CleanupRequest, what: str, environment: str = "QA") -> Proof:
    lines = [line for section in certificate.build(cleanup).sections for line in section.lines]
    return next(line for line in lines if (line.title, line.environment) == (what, environment))


def test_a_dataset_file_is_missing_where_the_policy_wants_it_and_not_applicable_elsewhere(
    asked: CleanupRequest, people: make.People
) -> None:
    cleanup_helpers.accepted(asked, people)
    cleanup_helpers.accepted(asked, people, "production")
    qa, production = (line(asked, "Compare the dataset with D1 again", name) for name in ("QA", "Production"))
    assert qa.state == "not_applicable"
    assert "the policy wants an export of master data in production" in qa.said
    assert production.state == "missing"
    for kind in ("", "?format=md"):
        assert "Not applicable · There is no dataset file" in page(signed_in(people.auditor), asked, kind)


def test_a_difference_after_the_clean_up_is_wrong_in_words_and_in_the_head(
    asked: CleanupRequest, people: make.People
) -> None:
    stage = cleanup_helpers.accepted(asked, people)
    assert stage.check_after is not None
    with gate.past_the_triggers():
        Check.objects.filter(pk=stage.check_after.pk).update(outcome="failed", differences=2)
    found = line(asked, "Compare the backup with D1 again")
    assert (found.said, found.state) == ("2 differences with D1.", "wrong")
    client = signed_in(people.auditor)
    shown = page(client, asked)
    assert "<strong>Wrong</strong> 2 differences with D1. </span>" in shown
    assert ("alert-danger" in shown, "1 proof shows a problem." in shown) == (True, True)
    again = "❌ **QA: Compare the backup with D1 again** Wrong · 2 differences with D1."
    assert again in page(client, asked, "?format=md")
    data = json.loads(page(client, asked, "?format=json"))["certificate"]
    assert (data["wrong"], data["valid"]) == (1, False)


def test_the_ticket_the_frozen_writers_and_the_hours_are_told_as_they_were_submitted(
    asked: CleanupRequest, people: make.People
) -> None:
    assert line(asked, "Writers frozen").said == "No writers were frozen."
    ticket, until = "https://tickets.example/KV-7?a=<b>", clock.now() + timedelta(hours=2)
    Environment.objects.filter(slug="qa").update(hours="00:00-23:59", days="mon,tue,wed,thu,fri,sat,sun")
    cleanup_requests.arrange(asked, ticket=ticket, frozen_until=until, frozen_by="the shop team", by=people.operator)
    asked.refresh_from_db()
    cleanup_helpers.submitted(asked, people)
    Environment.objects.filter(slug="qa").update(hours="", days="")
    assert line(asked, "Allowed hours").said.startswith("00:00-23:59 mon,tue,wed,thu,fri,sat,sun ")
    writers = line(asked, "Writers frozen")
    assert (writers.by, writers.said) == ("the shop team", f"until {moment(until)}")
    client = signed_in(people.auditor)
    assert 'href="https://tickets.example/KV-7?a=&lt;b&gt;" rel="noopener noreferrer"' in page(client, asked)
    assert "Ticket: https://tickets.example/KV-7?a=\\<b\\>" in page(client, asked, "?format=md")
    assert json.loads(page(client, asked, "?format=json"))["certificate"]["ticket"] == ticket


def test_every_environment_whose_keys_come_back_is_named(asked: CleanupRequest, people: make.People) -> None:
    stages = [cleanup_helpers.accepted(asked, people, slug) for slug in ("qa", "production")]
    undo.start_undo(stages[0], by=people.operator)
    make.work()
    undo.start_undo(stages[1], by=people.operator)
    asked.refresh_from_db()
    said = certificate.build(asked).state
    assert said.startswith("Not valid any more: deleted keys were written back in QA, Production.")


@pytest.fixture
def stopped(asked: CleanupRequest, people: make.People, monkeypatch: pytest.MonkeyPatch) -> CleanupRequest:
    """Production's first key is deleted; a person keeps the other two, explains them and accepts."""
    cleanup_helpers.accepted(asked, people)
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)
    deletion_chunks.end_early(cleanup_helpers.confirmed(asked, people, "production"), by=people.operator)
    make.work()
    stage = cleanup_helpers.stage_of(asked, "production")
    completion.explain_leftovers(stage, note="a page still needs them", by=people.operator)
    completion.accept_stage(stage, note="all went well", by=people.operator)
    asked.refresh_from_db()
    return asked


def test_a_clean_up_whose_deletion_was_stopped_is_not_complete(stopped: CleanupRequest, people: make.People) -> None:
    head = "Ended early: 2 of 3 keys were kept in Production."
    made, client = certificate.build(stopped), signed_in(people.auditor)
    assert (made.state, made.valid) == (head, False)
    assert (made.environments[0].kept, made.environments[1].kept) == (0, 2)
    for kind in ("", "?format=md", "?format=json"):
        assert head in page(client, stopped, kind)
        assert "Complete:" not in page(client, stopped, kind)
    for address in ("/cleanup/", f"/cleanup/{stopped.pk}/"):
        assert head in client.get(address).content.decode()


def test_each_key_that_was_not_deleted_has_its_reason(stopped: CleanupRequest) -> None:
    said = line(stopped, "Delete", "Production").said
    assert said == "1 deleted, 2 left out (2 left as it is: the run was ended early). a page still needs them"


def test_a_key_that_survived_every_attempt_makes_no_complete_clean_up(
    stopped: CleanupRequest,
) -> None:
    with gate.past_the_triggers():
        CleanupException.objects.update(outcome=CleanupException.Outcome.FAILED)
    made = certificate.build(stopped)
    told = "Not complete: 2 of 3 keys are still in KV after three attempts in Production."
    assert (made.state, made.valid) == (told, False)


def test_other_keys_under_the_prefix_are_explained_by_name(
    asked: CleanupRequest, people: make.People, estate: make.Estate
) -> None:
    cleanup_helpers.started(asked, people)
    estate.put(estate.qa, "master:z:9", b"written later")
    make.work()
    stage = cleanup_helpers.stage_of(asked)
    completion.explain_others(stage, note="the import job", by=people.operator)
    said = line(asked, "Prove that the keys are gone").said
    assert said == (
        "Listed twice without them · 1 key that is not of this clean-up is left under the prefix. "
        "Other keys: master:z:9. the import job"
    )


def test_an_ended_clean_up_says_so(asked: CleanupRequest, people: make.People) -> None:
    completion.end(asked, reason="asked twice", by=people.operator)
    asked.refresh_from_db()
    assert certificate.build(asked).state == "Ended before it was complete. Not cleaned: QA, Production."


def test_the_json_has_its_own_digest_and_is_the_same_in_every_language(
    asked: CleanupRequest, people: make.People
) -> None:
    cleanup_helpers.accepted(asked, people)
    client = signed_in(people.auditor)
    text = page(client, asked, "?format=json")
    client.cookies["django_language"] = "ja"
    assert page(client, asked, "?format=json") == text
    found = json.loads(text)
    assert found["sha256"] == evidence.digest_of(evidence.canonical_evidence(found["certificate"]))
    assert found["sha256"] in page(client, asked)
    assert [one["rule"] for one in found["certificate"]["sections"]] == POLICY


def test_peoples_words_are_no_markup_in_markdown(asked: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.confirmed(asked, people)
    completion.accept_stage(stage, note="# ok <b>\n[x](http://evil.example)", by=people.operator)
    text = page(signed_in(people.auditor), asked, "?format=md")
    assert "\\# ok \\<b\\> \\[x\\](http://evil.example)" in text
    assert text.startswith(f"# Certificate of clean-up {asked.pk}\n")
    assert "❌ **Production: Delete** Missing: this was not done." in text


def test_the_pages_of_the_clean_up_link_to_it(asked: CleanupRequest, people: make.People) -> None:
    client = signed_in(people.auditor)
    for address in ("/cleanup/", f"/cleanup/{asked.pk}/"):
        assert f'href="/cleanup/{asked.pk}/certificate/"' in client.get(address).content.decode()


ONE = "src/a.ts:7 write certain SETTINGS master:*"


def with_follow_up(asked: CleanupRequest, people: make.People, *, hits: Sequence[str] = (ONE,)) -> CleanupStage:
    """The stage of QA, whose places in the code are to be switched to D1 in a week."""
    stage = cleanup_helpers.stage_of(asked)
    searched.code(stage.environment, hits=hits)
    found = [one.hit.pk for one in code_references.StageReferences.of(stage).found]
    due = timezone.localdate() + timedelta(days=7)
    todo: dict[str, Any] = {"kind": "follow_up", "follow_up": "d1", "owner": people.operator2, "due": due}
    code_references.answer(stage, hits=found, by=people.operator, reason="soon as agreed", **todo)
    return stage


def test_open_follow_ups_and_accepted_risks_are_told(
    asked: CleanupRequest, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_follow_up(asked, people)
    cleanup_helpers.accepted(asked, people)
    due = timezone.localdate() + timedelta(days=7)
    answers = line(asked, "Answer the code references")
    assert answers.said == f"follow-up: 1;\nsrc/a.ts:7 · switch to D1 · {people.operator2}, {due} · still open"
    open_ = f"1 code follow-up open until {due.day} {due:%b}"
    code = f"1 place at 4f2a91c · {open_} · the searched code runs: site 4f2a91c"
    assert line(asked, "Search the code").said == code
    assert certificate.build(asked).state.endswith(f" {open_}.")
    monkeypatch.setattr(risks, "risks_of", lambda _request: ["references_other"])
    assert "I accept that the code that was searched is not the code" in line(asked, "Approval by another person").said


def test_the_head_counts_only_the_follow_ups_of_its_own_places(asked: CleanupRequest, people: make.People) -> None:
    stage = with_follow_up(asked, people, hits=[ONE, ONE])
    cleanup_helpers.accepted(asked, people)
    before = certificate.build(asked).state
    [old, _] = ReferenceAnswer.objects.order_by("pk")
    assert "1 code follow-up open until" in before
    assert line(asked, "Search the code").said.startswith("2 places at 4f2a91c · 1 code follow-up open")
    place = searched.search(stage.environment, hits=["src/z.ts:1 read certain SETTINGS master:z:*"]).hits.get()
    later: dict[str, Any] = {"family": old.family, "kind": "follow_up", "follow_up": "d1", "owner": people.operator}
    later |= {"reason": "of a later clean-up", "by": people.operator, "due": old.due + timedelta(days=30)}  # type: ignore[operator]
    ReferenceAnswer.objects.create(hit=place, fingerprint=place.fingerprint, **later)
    assert certificate.build(asked).state == before
    ReferenceAnswer.objects.create(hit=old.hit, fingerprint=old.fingerprint, **later)
    assert f"1 code follow-up open until {later['due'].day} {later['due']:%b}" in certificate.build(asked).state
    searched.runs(stage.environment, "ffff")
    gone = searched.search(stage.environment, commit="ffff")
    ReferenceAnswer.objects.filter(fingerprint=old.fingerprint).update(closed_by=gone, closed_at=clock.now())
    assert "follow-up" not in certificate.build(asked).state


def test_what_became_of_a_follow_up_since_is_a_clause_of_its_own(asked: CleanupRequest, people: make.People) -> None:
    stage = with_follow_up(asked, people)
    cleanup_helpers.accepted(asked, people)
    before = line(asked, "Answer the code references")
    searched.runs(stage.environment, "ffff")
    later = searched.search(stage.environment, commit="ffff")
    ReferenceAnswer.objects.update(closed_by=later, closed_at=clock.now())
    after = line(asked, "Answer the code references")
    closed = f"closed since: search {later.pk} of {moment(later.searched_at)}"
    assert after.said == before.said.replace("still open", closed)
    assert (after.by, after.at, after.digest, after.state) == (before.by, before.at, before.digest, "done")


def test_a_follow_up_with_a_later_owner_names_both(asked: CleanupRequest, people: make.People) -> None:
    stage = with_follow_up(asked, people)
    cleanup_helpers.accepted(asked, people)
    [old], due = ReferenceAnswer.objects.all(), timezone.localdate() + timedelta(days=9)
    ReferenceAnswer.objects.create(
        family=old.family, hit=old.hit, fingerprint=old.fingerprint, kind="follow_up", reason="moved as agreed",
        follow_up="flag", owner=people.operator, due=due, by=people.operator,
    )  # fmt: skip
    said = line(asked, "Answer the code references", stage.environment.name).said
    assert said.endswith(f"{people.operator2}, {old.due} · still open, now {people.operator}, {due}")


def code_lines(cleanup: CleanupRequest) -> list[Proof]:
    return [line(cleanup, what) for what in ("Search the code", "Answer the code references")]


def test_the_code_references_of_a_finished_clean_up_stay_as_they_were_approved(
    asked: CleanupRequest, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = with_follow_up(asked, people)
    searched.search(stage.environment, hits=["src/b.ts:3 read possible SETTINGS master:*"], worker="other")
    searched.answered(stage.environment, asked.family, people.operator)
    cleanup_helpers.accepted(asked, people)
    before = code_lines(asked)
    assert before[0].said.startswith("2 places at ")
    assert "1 more search of other code" in before[0].said
    searched.code(stage.environment, hits=["src/c.ts:1 write certain SETTINGS master:*"], commit="ffff")
    monkeypatch.setattr(timing, "REFERENCES_FRESH", 0.0)  # as if 7 days had passed
    assert code_lines(asked) == before


def test_searches_that_contradict_the_search_are_not_called_other_code(
    asked: CleanupRequest, people: make.People
) -> None:
    with_follow_up(asked, people)
    cleanup_helpers.accepted(asked, people)
    known = dict(certificate_files.references_of(cleanup_helpers.stage_of(asked)))
    commit = known["search"]["commit"]
    known["others"] = [{"commit": one} for one in (commit, "", commit)]
    said = certificate_files.references_in_words(known)
    assert " · 2 more searches of this commit, which contradict it · 1 more search of other code · " in said
    known["search"] = {**known["search"], "commit": "", "worker": "api"}
    assert " · 3 more searches of other code · " in certificate_files.references_in_words(known)


def test_references_that_were_approved_before_other_searches_were_kept_are_told(
    asked: CleanupRequest, people: make.People
) -> None:
    with_follow_up(asked, people)
    stage = cleanup_helpers.accepted(asked, people)
    old = dict(certificate_files.references_of(stage))
    del old["others"]
    assert certificate_files.references_in_words(old) == line(asked, "Search the code").said


def verification(cleanup: CleanupRequest) -> Proof:
    return line(cleanup, "Verify the backup")


def test_a_later_verification_leaves_the_line_of_an_accepted_stage(asked: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.accepted(asked, people)
    assert stage.generation is not None
    before = verification(asked)
    with log.transaction():
        generation_start.create_verification(stage.generation, actor=make.SETUP)
    make.work()
    assert verification(asked) == before
    assert (before.said, before.state) == ("Every entry equals what KV returned", "done")


def test_a_damage_since_is_a_clause_of_its_own_in_an_accepted_stage(asked: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.accepted(asked, people)
    before = verification(asked)
    with gate.past_the_triggers():
        Generation.objects.filter(stages=stage).update(status="damaged", problem="A part is gone.")
    after = verification(asked)
    assert after.said == f"{before.said};\ndamaged since: A part is gone."
    assert (after.at, after.by, after.url, after.state) == (before.at, before.by, before.url, "done")


def test_a_damage_before_the_acceptance_is_wrong(asked: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.confirmed(asked, people)
    with gate.past_the_triggers():
        Generation.objects.filter(stages=stage).update(status="damaged", problem="A part is gone.")
    found = verification(asked)
    assert (found.said, found.state) == ("The backup is damaged: A part is gone.", "wrong")


def test_a_proven_stage_without_keys_reads_no_search_of_today(asked: CleanupRequest, people: make.People) -> None:
    stage = with_follow_up(asked, people)
    cleanup_helpers.confirmed(asked, people)
    with gate.past_the_triggers():
        CleanupStage.objects.filter(pk=stage.pk).update(approval=None, run=None, generation=None, names=0)
    for one in code_lines(asked):
        assert (one.state, one.said) == ("not_applicable", "There were no keys.")


def test_a_stage_that_ended_reads_no_search_of_today(asked: CleanupRequest, people: make.People) -> None:
    with_follow_up(asked, people)
    assert line(asked, "Search the code").state == "done"
    completion.end(asked, reason="asked twice", by=people.operator)
    asked.refresh_from_db()
    for one in code_lines(asked):
        assert (one.state, one.said) == ("missing", "Missing: the stage ended before it was submitted.")


def test_many_answers_are_counts_with_their_digest(asked: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.stage_of(asked)
    hits = [f"src/a{n}.ts:{n} write certain SETTINGS master:*" for n in range(1, 121)]
    with_follow_up(asked, people, hits=hits)
    cleanup_helpers.submitted(asked, people)
    answers = line(asked, "Answer the code references")
    evidence_of = json.loads(cleanup_helpers.stage_of(asked).approval.evidence)["references"]  # type: ignore[union-attr]
    listed = len(evidence_of["answers"])
    assert answers.said == f"follow-up: {listed}, by their digest alone: {120 - listed};\n{listed} still open"
    assert (answers.digest, answers.digest_of) == (evidence_of["answers_sha256"], "answers")
    assert (len(evidence_of["follow_ups"]["more"]), evidence_of["follow_ups"]["open"]) == (120 - listed, 120)
    assert " 120 code follow-ups open until " in f" {certificate.build(asked).state}"
    assert stage.environment.name == "QA"


def test_both_listings_of_the_proof_have_their_time(asked: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.confirmed(asked, people)
    proof = line(asked, "Prove that the keys are gone")
    assert (proof.since, proof.at) == (stage.first_listing_at, stage.second_listing_at)
    client = signed_in(people.auditor)
    for found in (stage.first_listing_at, stage.second_listing_at):
        assert found is not None
        assert f'datetime="{found.astimezone(UTC).isoformat()}"' in page(client, asked)
        assert evidence.moment(found) in page(client, asked, "?format=md")
        assert evidence.moment(found) in page(client, asked, "?format=json")


def test_the_head_has_account_namespace_and_counts_of_each_environment_once(
    asked: CleanupRequest, people: make.People
) -> None:
    stage = cleanup_helpers.accepted(asked, people)
    client, qa = signed_in(people.auditor), stage.environment
    shown, text = page(client, asked), page(client, asked, "?format=md")
    for one in asked.stages.select_related("environment", "namespace"):
        for name in (one.environment.account_id, one.namespace.namespace_id):
            assert (shown.count(name), text.count(name)) == (1, 1)
    assert f"| QA | {qa.account_id} | {stage.namespace.namespace_id} | 3 | 3 | 0 | 3 | 0 |" in text
    assert "| Production | " in text
    assert text.index("| QA |") < text.index("## 5.1")
    [found, other] = json.loads(page(client, asked, "?format=json"))["certificate"]["environments"]
    assert (found["approved"], found["deleted"], found["proven"], found["left"]) == (3, 3, 3, 0)
    assert (other["approved"], other["deleted"], other["proven"], other["left"]) == (None, None, None, None)


def test_the_account_is_the_approved_one(asked: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.accepted(asked, people)
    then = stage.environment.account_id
    Environment.objects.filter(pk=stage.environment_id).update(account_id="f" * 32)
    assert certificate.build(asked).environments[0].account_id == then
