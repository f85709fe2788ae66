"""The gate as people use it: inbox, evidence, decision."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client

from audit import log
from audit.models import Entry
from kvops import timing
from kvops.approvals import gate as approval_gate, prepared_changes
from kvops.models import ApprovalRequest, Environment, Person, PreparedChange, Role
from kvops.operations import registry
from kvops.people.signin import ASKED
from tests import make
from tests.audit.make import sql, triggers_off
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.kvops.approvals.evidence import EVIDENCE
from tests.signing import fresh, give_password, said, sent, signed_in

pytestmark = pytest.mark.django_db

State = ApprovalRequest.State


@pytest.fixture
def production(db: None) -> Environment:
    return Environment.objects.create(
        slug="production", name="Production", order=2, production=True, account_id="b" * 32,
        read_token="env:A", write_token="env:B", r2_endpoint="http://127.0.0.1", r2_bucket="the-bucket",
        r2_access_key_id="env:C", r2_secret_access_key="env:D",
    )  # fmt: skip


@pytest.fixture
def qa(db: None) -> Environment:
    return Environment.objects.create(
        slug="qa", name="QA", order=1, production=False, account_id="a" * 32,
        read_token="env:A", write_token="env:B", r2_endpoint="http://127.0.0.1", r2_bucket="the-bucket",
        r2_access_key_id="env:C", r2_secret_access_key="env:D",
    )  # fmt: skip


def ask(by: Person, environment: Environment, subject: str = "stage:2", **more: object) -> ApprovalRequest:
    with log.transaction():
        return approval_gate.submit(
            ApprovalRequest.Kind.DELETE_KEYS,
            subject=subject,
            title="Delete 4300 keys",
            evidence=EVIDENCE | more,
            requester=by,
            environment=environment,
        )


@pytest.fixture
def asked(people: make.People, production: Environment) -> ApprovalRequest:
    return ask(people.operator, production)


@pytest.fixture
def asked_in_qa(people: make.People, qa: Environment) -> ApprovalRequest:
    return ask(people.operator, qa, "stage:1")


def decision(asked: ApprovalRequest, decision: str = "approve", **more: str) -> dict[str, str]:
    return {"decision": decision, "shown": asked.digest, "confirm": "production-settings", "reason": "", **more}


def state(asked: ApprovalRequest) -> str:
    asked.refresh_from_db()
    return asked.state


def refused() -> list[tuple[str, str, str]]:
    return list(
        Entry.objects.filter(action__in=["approval.refused", "refused"]).values_list("action", "actor", "subject")
    )


def page(person: Person, asked: ApprovalRequest) -> str:
    answer = signed_in(person).get(f"/approvals/{asked.pk}/")
    assert answer.status_code == 200
    return answer.content.decode()


# The inbox


def inbox(person: Person, query: str = "") -> dict[str, list[int]]:
    context = signed_in(person).get(f"/approvals/{query}").context
    return {name: [row.pk for row in context[name]] for name in ("mine", "others", "history")}


def test_what_waits_for_me_comes_first(people: make.People, asked: ApprovalRequest) -> None:
    assert inbox(people.reviewer) == {"mine": [asked.pk], "others": [], "history": []}
    assert inbox(people.operator) == {"mine": [], "others": [asked.pk], "history": []}
    assert inbox(people.auditor) == {"mine": [], "others": [asked.pk], "history": []}


def test_my_own_request_does_not_wait_for_me(people: make.People, production: Environment) -> None:
    both = make.person("both", Role.OPERATOR, Role.REVIEWER)
    mine = ask(both, production)
    assert inbox(both)["mine"] == []
    assert inbox(people.reviewer)["mine"] == [mine.pk]


def test_the_badge_counts_what_waits_for_me(people: make.People, asked: ApprovalRequest) -> None:
    badge = "waiting for you</span>"
    assert badge in signed_in(people.reviewer).get("/runs/").content.decode()
    assert badge not in signed_in(people.operator).get("/runs/").content.decode()


def test_the_history_is_filtered_by_the_address(people: make.People, asked: ApprovalRequest) -> None:
    approval_gate.reject(asked, by=people.reviewer, shown=asked.digest, reason="No as agreed.")
    for query in ("?state=rejected", "?kind=delete_keys", "?environment=production"):
        assert inbox(people.auditor, query)["history"] == [asked.pk]
    for query in ("?state=used", "?kind=policy"):
        assert inbox(people.auditor, query)["history"] == []


def test_a_long_history_is_read_in_pages(
    people: make.People, production: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvops.approvals.views.PAGE", 2)
    made = [ask(people.operator, production, f"stage:{number}") for number in range(3)]
    for one in made:
        approval_gate.withdraw(one, by=people.operator)
    assert inbox(people.auditor)["history"] == [made[2].pk, made[1].pk]
    assert inbox(people.auditor, f"?after={made[1].pk}")["history"] == [made[0].pk]


def test_an_operator_asks_for_what_a_command_prepared(people: make.People) -> None:
    change = prepared()
    assert (
        f'action="/approvals/changes/{change.pk}/submit"'
        in signed_in(people.operator).get("/approvals/").content.decode()
    )
    signed_in(people.operator).post(f"/approvals/changes/{change.pk}/submit")
    change.refresh_from_db()
    assert change.approval is not None
    assert change.approval.requester == people.operator


def test_a_change_is_asked_for_once(people: make.People) -> None:
    change = prepared()
    browser = signed_in(people.operator)
    browser.post(f"/approvals/changes/{change.pk}/submit")
    answer = browser.post(f"/approvals/changes/{change.pk}/submit", follow=True)
    assert said(answer) == ["This change was already submitted, applied or discarded."]
    assert refused() == [("refused", str(people.operator), f"change:{change.pk}")]


# What a reviewer is shown


@pytest.mark.parametrize(
    "text",
    [
        "PRODUCTION", "4,300 keys", "production-settings", "2" * 32, "b" * 32, "the-bucket", "a1" * 32, "5" * 64,
        "master:city:0001", "master:drug:薬 剤/%41?#&amp;+&lt;b&gt;", "Sample", "c3" * 32, "d4" * 32, "5.1 MiB",
        "Verified", "masters", "4,301", "8c1f2ab", "functions/old.ts:7", "It reads D1 first.", "carried over",
        "4,288", "Opened every master screen.", "Master data moved to D1.", "Operator &lt;operator@example.com&gt;",
        "2026-11-25 09:44", "keep-a-month", "2026-12-25 09:40", "Approval requested", "All names, one per line",
    ],
)  # fmt: skip
@pytest.mark.hazard("4.2.15")
def test_the_page_shows_all_of_the_evidence(people: make.People, asked: ApprovalRequest, text: str) -> None:
    assert text in page(people.reviewer, asked)


@pytest.mark.hazard("4.2.15")
def test_the_page_names_what_qa_was_not_cleaned_of(people: make.People, asked: ApprovalRequest) -> None:
    shown = page(people.reviewer, asked)
    difference = shown[shown.index("Names that are only here") : shown.index("Test of the application")]
    assert all(text in difference for text in ("12", "master:city:9001", "master:city:9002", "master:old:1", "…"))


@pytest.mark.hazard("4.2.15")
def test_the_page_shows_the_digest_it_decides_on(people: make.People, asked: ApprovalRequest) -> None:
    assert f'name="shown" value="{asked.digest}"' in page(people.reviewer, asked)


def test_odd_characters_of_names_can_be_seen(people: make.People, asked: ApprovalRequest) -> None:
    assert "␣" in page(people.reviewer, asked)


@pytest.mark.parametrize(
    "sentence",
    [
        "In QA, 2 keys were not deleted.",
        "QA held none of these keys",
        "7 keys expired while the backup was made",
        "The backup was read in bulk",
        "a sample of the default policy",
    ],
)
def test_every_warning_is_a_sentence(people: make.People, asked: ApprovalRequest, sentence: str) -> None:
    assert sentence in page(people.reviewer, asked)


def test_a_cache_has_no_check_and_the_first_environment_no_example(
    people: make.People, production: Environment
) -> None:
    shown = page(people.reviewer, ask(people.operator, production, category="cache", check=None, qa=[], warnings=[]))
    assert "Caches and settings are not in D1." in shown
    assert "This is the first environment" in shown


def test_the_page_leads_to_backup_check_names_and_record(people: make.People, asked: ApprovalRequest) -> None:
    shown = page(people.reviewer, asked)
    assert 'href="/backups/4/"' in shown
    assert f'href="/audit/?subject=approval:{asked.pk}"' in shown


def shape(value: object) -> object:
    """The names within the evidence, however deep."""
    return {name: shape(inner) for name, inner in value.items()} if isinstance(value, dict) else None


def test_the_evidence_of_these_tests_is_what_a_stage_submits(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    asked = ApprovalRequest.objects.get()
    assert shape(json.loads(asked.evidence)) == shape(EVIDENCE)
    shown = page(people.reviewer, asked)
    for text in ("3 keys", "master:a:1", "qa-settings", "4f2a91c"):
        assert text in shown


# Why a button is off


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("operator", "You asked for this yourself; another person must decide."),
        ("operator2", "Only a reviewer can decide."),
        ("auditor", "Only a reviewer can decide."),
    ],
)
def test_the_page_says_why_one_cannot_decide(
    people: make.People, asked: ApprovalRequest, who: str, reason: str
) -> None:
    shown = page(getattr(people, who), asked)
    assert reason in shown
    assert "/decide" not in shown


def test_the_page_says_when_the_time_is_over(people: make.People, asked: ApprovalRequest) -> None:
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    with triggers_off("kvops_approvalrequest"):
        ApprovalRequest.objects.filter(pk=asked.pk).update(
            created_at=F("created_at") - timedelta(days=9), decide_by=F("decide_by") - timedelta(days=9)
        )
    shown = page(people.reviewer, asked)
    assert "The deadline for the decision has passed." in shown
    assert "/decide" not in shown


def test_a_decided_request_offers_no_decision(people: make.People, asked: ApprovalRequest) -> None:
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    assert "/decide" not in page(make.person("reviewer2", Role.REVIEWER), asked)


# Deciding


def test_a_reviewer_approves(people: make.People, asked: ApprovalRequest) -> None:
    answer = sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", decision(asked))
    assert (state(asked), asked.approver) == (State.APPROVED, people.reviewer)
    assert said(answer) == ["Your decision is recorded."]


def test_a_reviewer_rejects_with_a_reason_and_without_typing(people: make.People, asked: ApprovalRequest) -> None:
    form = decision(asked, "reject", confirm="", reason="The export reads them.")
    sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", form)
    assert (state(asked), asked.reason) == (State.REJECTED, "The export reads them.")


@pytest.mark.parametrize("typed", ["", "Production-settings", "production-settings ", "qa-settings", "4300"])
@pytest.mark.hazard("4.2.15")
def test_an_approval_needs_the_exact_title(people: make.People, asked: ApprovalRequest, typed: str) -> None:
    answer = sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", decision(asked, confirm=typed))
    assert answer.status_code == 422
    assert "Type it exactly as it is shown." in answer.content.decode()
    assert state(asked) == State.PENDING


@pytest.mark.parametrize("form", [{"decision": "reject"}, {"decision": "perhaps"}, {"decision": ""}, {"shown": ""}])
def test_half_a_decision_is_none(people: make.People, asked: ApprovalRequest, form: dict[str, str]) -> None:
    answer = sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", decision(asked) | form)
    assert answer.status_code == 422
    assert state(asked) == State.PENDING


UNLOCKED: dict[str, Any] = {
    "lock": {"state": "missing", "forever": False, "locked_until": "", "rules": []},
    "risks": ["lock_missing"],
}


def test_a_risk_is_accepted_by_its_name_and_stays_on_the_page(people: make.People, production: Environment) -> None:
    asked = ask(people.operator, production, **UNLOCKED)
    assert "Not locked" in page(people.reviewer, asked)
    answer = sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", decision(asked))
    assert answer.status_code == 422
    assert "Tick this to approve, or reject the request." in answer.content.decode()
    sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", decision(asked, accept_lock_missing="on"))
    assert (state(asked), asked.accepted) == (State.APPROVED, ["lock_missing"])
    assert "I accept that R2 does not lock the backup" in page(people.auditor, asked)


def test_a_risk_need_not_be_accepted_to_reject(people: make.People, production: Environment) -> None:
    asked = ask(people.operator, production, **UNLOCKED)
    form = decision(asked, "reject", confirm="", reason="Lock the bucket first.")
    sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", form)
    assert (state(asked), asked.accepted) == (State.REJECTED, [])


def test_a_box_for_a_risk_that_is_not_named_accepts_nothing(people: make.People, asked: ApprovalRequest) -> None:
    sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", decision(asked, accept_lock_missing="on"))
    assert (state(asked), asked.accepted) == (State.APPROVED, [])


@pytest.mark.hazard("4.2.1", "4.2.15")
def test_a_page_that_showed_other_evidence_decides_nothing(people: make.People, asked: ApprovalRequest) -> None:
    browser = fresh(people.reviewer)
    answer = sent(browser, f"/approvals/{asked.pk}/decide", decision(asked, shown="0" * 64))
    assert "The evidence on your page differs" in said(answer)[0]
    assert state(asked) == State.PENDING
    assert refused() == [("approval.refused", str(people.reviewer), f"approval:{asked.pk}")]


@pytest.mark.hazard("4.2.3")
def test_who_asked_decides_nothing_whatever_the_form_says(people: make.People, production: Environment) -> None:
    both = make.person("both", Role.OPERATOR, Role.REVIEWER)
    asked = ask(both, production)
    forged = decision(asked) | {
        "approver": str(people.reviewer.pk), "by": str(people.reviewer.pk), "user_id": str(people.reviewer.pk)
    }  # fmt: skip
    answer = sent(fresh(both), f"/approvals/{asked.pk}/decide", forged, headers={"Remote-User": "reviewer@example.com"})
    assert "yourself" in said(answer)[0]
    assert state(asked) == State.PENDING
    assert refused() == [("approval.refused", str(both), f"approval:{asked.pk}")]


@pytest.mark.hazard("B26")
def test_a_second_decision_is_said_to_be_late(people: make.People, asked: ApprovalRequest) -> None:
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    late = make.person("reviewer2", Role.REVIEWER)
    answer = sent(fresh(late), f"/approvals/{asked.pk}/decide", decision(asked))
    assert "no longer waits" in said(answer)[0]
    assert (state(asked), asked.approver) == (State.APPROVED, people.reviewer)


@pytest.mark.parametrize("who", ["operator", "operator2", "auditor", "nobody"])
def test_only_a_reviewer_reaches_the_decision(people: make.People, asked: ApprovalRequest, who: str) -> None:
    person = getattr(people, who)
    assert fresh(person).post(f"/approvals/{asked.pk}/decide", decision(asked)).status_code == 403
    assert state(asked) == State.PENDING
    assert refused()[-1][:2] == ("refused", str(person))


def test_another_sites_form_decides_nothing(people: make.People, asked: ApprovalRequest) -> None:
    browser = fresh(people.reviewer)
    browser.handler.enforce_csrf_checks = True
    assert browser.post(f"/approvals/{asked.pk}/decide", decision(asked)).status_code == 403
    assert state(asked) == State.PENDING


# The password


def test_the_page_says_that_signing_in_is_no_password_typed_again(
    people: make.People, asked_in_qa: ApprovalRequest
) -> None:
    said = "unless you typed it again within 5 minutes. Signing in does not count."
    assert said in page(people.reviewer, asked_in_qa)


def test_deciding_asks_for_the_password_and_then_goes_on(people: make.People, asked: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    answer = browser.post(f"/approvals/{asked.pk}/decide", decision(asked))
    assert answer.headers["Location"].startswith("/account/reauthenticate/")
    assert state(asked) == State.PENDING
    browser.post(answer.headers["Location"], {"password": make.PASSWORD, "next": f"/approvals/{asked.pk}/decide"})
    assert state(asked) == State.APPROVED


def test_a_password_that_is_sent_twice_leads_to_the_request_and_says_how_it_stands(
    people: make.People, asked: ApprovalRequest
) -> None:
    browser = signed_in(people.reviewer)
    form = browser.post(f"/approvals/{asked.pk}/decide", decision(asked)).headers["Location"]
    typed = {"password": make.PASSWORD, "next": f"/approvals/{asked.pk}/decide"}
    browser.post(form, typed)
    browser.defaults["HTTP_REFERER"] = f"http://testserver{form}"  # a browser sends it
    page = browser.post(form, typed, follow=True)
    assert page.redirect_chain[-1] == (f"/approvals/{asked.pk}/", 302)
    assert "Your password was sent twice; it counts once. The request is: approved." in page.content.decode()
    assert state(asked) == State.APPROVED


def test_a_typed_address_leads_to_the_request_and_speaks_of_no_password(
    people: make.People, asked: ApprovalRequest
) -> None:
    page = signed_in(people.reviewer).get(f"/approvals/{asked.pk}/decide", follow=True)
    assert page.redirect_chain == [(f"/approvals/{asked.pk}/", 302)]
    assert "Your password was sent twice" not in page.content.decode()


def test_the_password_page_says_what_for_and_leads_back(people: make.People, asked: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    form = browser.post(f"/approvals/{asked.pk}/decide", decision(asked)).headers["Location"]
    page = browser.get(form).content.decode()
    assert f'href="/approvals/{asked.pk}/"' in page
    assert "production-settings" in page


@pytest.mark.parametrize("pressed", ["approve", "reject"])
def test_the_password_page_says_whether_one_approves_or_rejects(
    people: make.People, asked: ApprovalRequest, pressed: str
) -> None:
    browser = signed_in(people.reviewer)
    typed = {**decision(asked), "decision": pressed, "reason": "Not needed"}
    page = browser.get(browser.post(f"/approvals/{asked.pk}/decide", typed).headers["Location"]).content.decode()
    assert page.count(f"Your password once more, to {pressed}") == 2  # the title of the window, and the heading
    assert f"You are about to {pressed} this request." in page
    assert re.search(rf"<button[^>]+>{pressed.capitalize()}</button>", page)


def test_after_a_wrong_password_the_page_says_it_again(people: make.People, asked: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    form = browser.post(f"/approvals/{asked.pk}/decide", decision(asked)).headers["Location"]
    page = browser.post(form, {"password": "wrong", "next": f"/approvals/{asked.pk}/decide"})
    assert "You are about to approve this request." in page.content.decode()


@pytest.mark.parametrize("after", ["", "/", "/nowhere", "/approvals/999999/decide", "//elsewhere.example/"])
def test_the_password_page_without_a_decision_says_so(people: make.People, asked: ApprovalRequest, after: str) -> None:
    browser = signed_in(people.reviewer)
    browser.post(f"/approvals/{asked.pk}/decide", decision(asked))
    page = browser.get("/account/reauthenticate/", {"next": after})
    assert "This action needs your password again" in page.content.decode()


def test_the_password_page_tells_nothing_to_who_may_not_decide(people: make.People, asked: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    form = browser.post(f"/approvals/{asked.pk}/decide", decision(asked)).headers["Location"]
    make.revoke(people.reviewer, Role.REVIEWER)
    assert "production-settings" not in browser.get(form).content.decode()


def test_a_wrong_password_decides_nothing(people: make.People, asked: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    answer = browser.post(f"/approvals/{asked.pk}/decide", decision(asked))
    browser.post(answer.headers["Location"], {"password": "wrong", "next": f"/approvals/{asked.pk}/decide"})
    assert state(asked) == State.PENDING


def test_what_changed_while_the_password_was_asked_for_is_seen(people: make.People, asked: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    answer = browser.post(f"/approvals/{asked.pk}/decide", decision(asked))
    approval_gate.withdraw(asked, by=people.operator)
    browser.post(answer.headers["Location"], {"password": make.PASSWORD, "next": f"/approvals/{asked.pk}/decide"})
    assert state(asked) == State.WITHDRAWN
    assert refused() == [("approval.refused", str(people.reviewer), f"approval:{asked.pk}")]


def test_a_role_lost_while_the_password_was_asked_for_counts(people: make.People, asked: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    answer = browser.post(f"/approvals/{asked.pk}/decide", decision(asked))
    make.revoke(people.reviewer, Role.REVIEWER)
    browser.post(answer.headers["Location"], {"password": make.PASSWORD, "next": f"/approvals/{asked.pk}/decide"})
    assert state(asked) == State.PENDING


def age_password(browser: Client, seconds: float) -> None:
    """As if the password had been typed so many seconds earlier."""
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] -= seconds
    session.save()


@pytest.mark.parametrize("seconds", [timing.REAUTHENTICATE + 1, -60])
def test_a_password_typed_long_ago_or_in_the_future_is_asked_for_again(
    people: make.People, asked_in_qa: ApprovalRequest, seconds: float
) -> None:
    browser = fresh(people.reviewer)
    age_password(browser, seconds)
    answer = browser.post(f"/approvals/{asked_in_qa.pk}/decide", decision(asked_in_qa))
    assert asks_for_the_password(answer)
    assert state(asked_in_qa) == State.PENDING


def asks_for_the_password(answer: object) -> bool:
    return bool(answer.headers.get("Location", "").startswith("/account/reauthenticate/"))  # type: ignore[attr-defined]


def test_in_qa_a_password_of_the_last_five_minutes_counts_for_several_decisions(
    people: make.People, qa: Environment
) -> None:
    browser = fresh(people.reviewer)
    age_password(browser, timing.REAUTHENTICATE - 60)
    for one in (ask(people.operator, qa, "stage:1"), ask(people.operator, qa, "stage:2")):
        browser.post(f"/approvals/{one.pk}/decide", decision(one))
        assert state(one) == State.APPROVED


def test_for_production_the_password_is_asked_for_although_it_was_just_typed(
    people: make.People, asked: ApprovalRequest
) -> None:
    browser = fresh(people.reviewer)
    assert asks_for_the_password(browser.post(f"/approvals/{asked.pk}/decide", decision(asked)))
    assert state(asked) == State.PENDING


def test_what_holds_in_every_environment_asks_for_the_password_as_production_does(people: make.People) -> None:
    asked = prepared_changes.submit_change(prepared(), by=people.operator)
    browser = fresh(people.reviewer)
    answer = browser.post(f"/approvals/{asked.pk}/decide", decision(asked, confirm="qa production"))
    assert asks_for_the_password(answer)
    assert state(asked) == State.PENDING


def test_the_password_of_one_decision_for_production_does_not_count_for_a_second(
    people: make.People, production: Environment
) -> None:
    browser = signed_in(people.reviewer)
    first, second = ask(people.operator, production, "stage:1"), ask(people.operator, production, "stage:2")
    sent(browser, f"/approvals/{first.pk}/decide", decision(first))
    assert asks_for_the_password(browser.post(f"/approvals/{second.pk}/decide", decision(second)))
    assert (state(first), state(second)) == (State.APPROVED, State.PENDING)


def test_a_password_typed_for_something_else_meanwhile_does_not_count_for_production(
    people: make.People, asked: ApprovalRequest
) -> None:
    browser = signed_in(people.reviewer)
    browser.post(f"/approvals/{asked.pk}/decide", decision(asked))
    give_password(browser)
    assert asks_for_the_password(browser.post(f"/approvals/{asked.pk}/decide", decision(asked)))
    assert state(asked) == State.PENDING


def test_the_password_of_one_page_does_not_count_for_the_decision_of_another(
    people: make.People, production: Environment
) -> None:
    browser = signed_in(people.reviewer)
    first, second = ask(people.operator, production, "stage:1"), ask(people.operator, production, "stage:2")
    form = browser.post(f"/approvals/{first.pk}/decide", decision(first)).headers["Location"]
    browser.post(f"/approvals/{second.pk}/decide", decision(second))
    browser.post(form, {"password": make.PASSWORD, "next": f"/approvals/{first.pk}/decide"})
    for one in (first, second):
        assert asks_for_the_password(browser.post(f"/approvals/{one.pk}/decide", decision(one)))
        assert state(one) == State.PENDING


def marked(browser: Client, asked: ApprovalRequest) -> dict[str, str]:
    """A decision that was sent and waits for its password, with the mark that only the session has."""
    browser.post(f"/approvals/{asked.pk}/decide", decision(asked))
    return decision(asked) | {ASKED: browser.session[ASKED]["mark"]}


def test_a_mark_decides_with_the_password_typed_after_it_and_once(people: make.People, asked: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    form = marked(browser, asked)
    give_password(browser)
    browser.post(f"/approvals/{asked.pk}/decide", form | {"shown": "0" * 64})
    assert said(browser.get(f"/approvals/{asked.pk}/")) == [
        "The evidence on your page differs from the evidence of the request. Load the page again."
    ]
    assert asks_for_the_password(browser.post(f"/approvals/{asked.pk}/decide", form))


@pytest.mark.parametrize("change", ["none typed", "typed long ago", "clock back", "another request", "another mark"])
def test_a_mark_alone_decides_nothing(people: make.People, asked: ApprovalRequest, change: str) -> None:
    browser = signed_in(people.reviewer)
    form = marked(browser, asked)
    if change != "none typed":
        give_password(browser)
    session = browser.session
    if change == "typed long ago":
        session[ASKED] |= {"at": 0}
        session.save()
        age_password(browser, timing.REAUTHENTICATE + 1)
    if change == "clock back":
        session[ASKED] |= {"at": session[ASKED]["at"] + 3600}
        session.save()
    if change == "another request":
        session[ASKED] |= {"path": f"/approvals/{asked.pk + 1}/decide"}
        session.save()
    if change == "another mark":
        form[ASKED] = "0" * 32
    assert asks_for_the_password(browser.post(f"/approvals/{asked.pk}/decide", form))
    assert state(asked) == State.PENDING


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"confirm": "qa-settings"}, "Type it exactly as it is shown."),
        ({"decision": "reject"}, "Give the reason, so that the operator can correct the request."),
    ],
)
def test_what_cannot_be_recorded_is_said_before_the_password_is_asked_for(
    people: make.People, asked: ApprovalRequest, chosen: dict[str, str], sentence: str
) -> None:
    answer = signed_in(people.reviewer).post(f"/approvals/{asked.pk}/decide", decision(asked) | chosen)
    assert (answer.status_code, sentence in answer.content.decode()) == (422, True)


def test_the_password_page_says_for_how_long_it_counts(
    people: make.People, asked: ApprovalRequest, asked_in_qa: ApprovalRequest
) -> None:
    browser = signed_in(people.reviewer)
    told = [
        browser.get(browser.post(f"/approvals/{one.pk}/decide", decision(one)).headers["Location"]).content.decode()
        for one in (asked, asked_in_qa)
    ]
    assert ["counts for this decision alone" in page for page in told] == [True, False]
    assert ["counts for 5 minutes" in page for page in told] == [False, True]


def test_signing_in_is_not_typing_the_password_again(people: make.People, asked_in_qa: ApprovalRequest) -> None:
    browser = Client()
    browser.post("/account/login/", {"login": "reviewer@example.com", "password": make.PASSWORD})
    assert asks_for_the_password(browser.post(f"/approvals/{asked_in_qa.pk}/decide", decision(asked_in_qa)))


def test_a_login_without_a_password_never_decides(people: make.People, asked: ApprovalRequest) -> None:
    browser = fresh(people.reviewer)
    user = people.reviewer.logins.get()
    user.set_unusable_password()
    user.save()
    again = signed_in(people.reviewer)
    for one in (browser, again):
        one.post(f"/approvals/{asked.pk}/decide", decision(asked))
    assert again.post(f"/approvals/{asked.pk}/decide", decision(asked)).status_code == 403
    assert state(asked) == State.PENDING


def test_one_persons_password_is_not_anothers(people: make.People, asked_in_qa: ApprovalRequest) -> None:
    browser = fresh(people.operator)
    browser.force_login(people.reviewer.logins.get())
    answer = browser.post(f"/approvals/{asked_in_qa.pk}/decide", decision(asked_in_qa))
    assert answer.headers["Location"].startswith("/account/reauthenticate/")


def test_a_deactivated_reviewer_is_signed_out(people: make.People, asked: ApprovalRequest) -> None:
    browser = fresh(people.reviewer)
    make.deactivate(people.reviewer)
    answer = browser.post(f"/approvals/{asked.pk}/decide", decision(asked))
    assert answer.headers["Location"].startswith("/account/login/")


# Withdrawing


def test_an_operator_withdraws(people: make.People, asked: ApprovalRequest) -> None:
    signed_in(people.operator2).post(f"/approvals/{asked.pk}/withdraw", {"reason": "Not yet as agreed."})
    assert (state(asked), asked.reason) == (State.WITHDRAWN, "Not yet as agreed.")


def test_what_is_over_cannot_be_withdrawn(people: make.People, asked: ApprovalRequest) -> None:
    approval_gate.withdraw(asked, by=people.operator)
    answer = signed_in(people.operator).post(f"/approvals/{asked.pk}/withdraw", follow=True)
    assert "nothing to withdraw" in said(answer)[0]
    assert refused() == [("refused", str(people.operator), f"approval:{asked.pk}")]


# Changes of the estate


def prepared() -> PreparedChange:
    return prepared_changes.prepare_change(
        ApprovalRequest.Kind.ENVIRONMENT,
        definition={"environment": [{"slug": "qa"}, {"slug": "production"}]},
        summary=["qa: the bucket changes", "production is new"],
        actor=log.Actor(None, "cli:mika"),
    )


def test_a_change_shows_its_summary_its_definition_and_who_prepared_it(people: make.People) -> None:
    shown = page(people.reviewer, prepared_changes.submit_change(prepared(), by=people.operator))
    for text in ("qa: the bucket changes", "production is new", "&quot;slug&quot;: &quot;qa&quot;", "cli:mika"):
        assert text in shown


def test_a_change_of_environments_is_approved_by_their_names(people: make.People) -> None:
    asked = prepared_changes.submit_change(prepared(), by=people.operator)
    browser = fresh(people.reviewer)
    sent(browser, f"/approvals/{asked.pk}/decide", decision(asked, confirm="qa"))
    assert state(asked) == State.PENDING
    sent(browser, f"/approvals/{asked.pk}/decide", decision(asked, confirm="qa production"))
    assert state(asked) == State.APPROVED


def test_a_change_of_the_policy_is_approved_by_its_number(people: make.People) -> None:
    make.policy()
    asked = prepared_changes.submit_change(make.prepared_policy(), by=people.operator)
    sent(fresh(people.reviewer), f"/approvals/{asked.pk}/decide", decision(asked, confirm="policy 2"))
    assert state(asked) == State.APPROVED


used: list[tuple[ApprovalRequest, Person]] = []


def use_change(request: ApprovalRequest, *, by: Person) -> None:
    """What puts a change in force, in these tests."""
    if Role.REVIEWER in by.roles():
        raise approval_gate.ApprovalRefused("You approved this; another person must start it.")
    used.append((request, by))


@pytest.fixture
def approved(people: make.People, monkeypatch: pytest.MonkeyPatch) -> ApprovalRequest:
    kind = registry.REQUESTS[ApprovalRequest.Kind.ENVIRONMENT]
    monkeypatch.setitem(registry.REQUESTS, ApprovalRequest.Kind.ENVIRONMENT, replace(kind, use=use_change))
    asked = prepared_changes.submit_change(prepared(), by=people.operator)
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    used.clear()
    return asked


def test_an_operator_puts_an_approved_change_in_force(people: make.People, approved: ApprovalRequest) -> None:
    assert re.search(r"Apply the change\s*</button>", page(people.operator2, approved))
    answer = signed_in(people.operator2).post(f"/approvals/{approved.pk}/apply", follow=True)
    assert said(answer) == ["The change is in force."]
    assert used == [(approved, people.operator2)]


def test_a_change_that_is_refused_is_said_and_recorded(people: make.People, approved: ApprovalRequest) -> None:
    both = make.person("both", Role.OPERATOR, Role.REVIEWER)
    answer = signed_in(both).post(f"/approvals/{approved.pk}/apply", follow=True)
    assert said(answer) == ["You approved this; another person must start it."]
    assert refused() == [("refused", str(both), f"approval:{approved.pk}")]


def test_a_deletion_is_not_started_from_here(people: make.People, asked: ApprovalRequest) -> None:
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    assert signed_in(people.operator).post(f"/approvals/{asked.pk}/apply").status_code == 404
    assert state(asked) == State.APPROVED


def test_the_password_can_be_typed_beforehand_in_qa(people: make.People, asked_in_qa: ApprovalRequest) -> None:
    browser = signed_in(people.reviewer)
    give_password(browser)
    answer = browser.post(f"/approvals/{asked_in_qa.pk}/decide", decision(asked_in_qa))
    assert answer.headers["Location"] == f"/approvals/{asked_in_qa.pk}/"
