"""The pages of the expiry Workers: what they show, and the steps that a person takes on them."""

import re

import pytest
from django.urls import reverse

from backups.models import WorkerRule
from backups.worker_expiry import script
from kvops.models import ApprovalRequest, Family
from tests import make
from tests.backups.worker_expiry import helpers
from tests.kvops.inventory.test_unexplained import scan
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def page(person: object, *args: object, name: str = "worker") -> str:
    answer = signed_in(person).get(reverse(f"backups:{name}", args=args))  # type: ignore[arg-type]
    return re.sub(r"\s+", " ", answer.content.decode())


def test_the_page_lists_the_dry_run_and_says_what_is_lost(estate: make.Estate, people: make.People) -> None:
    for number in range(3):
        estate.put(estate.qa, f"mastercache:{number}")
    estate.put(estate.qa, "mastercache:expires", expiration=4_102_444_800)
    estate.put(estate.qa, "mastercache:number", metadata='{"n": 12345678901234567890}')
    scan(estate)
    shown = page(people.auditor, helpers.rule(estate.qa, people, cap=2).pk)
    assert re.findall(r"\?name=(mastercache%3A\w+)", shown) == ["mastercache%3A0", "mastercache%3A1"]
    assert "There are more: later rounds take them." in shown
    assert "between the read and the put is lost" in shown


def test_the_reviewer_reads_the_same_and_the_digest_of_the_script(estate: make.Estate, people: make.People) -> None:
    asked = helpers.approve(helpers.rule(estate.qa, people), people)
    answer = signed_in(people.reviewer).get(reverse("approval", args=[asked.pk]))
    shown = re.sub(r"\s+", " ", answer.content.decode())
    assert "between the read and the put is lost" in shown
    assert script.script_sha256(WorkerRule.objects.get()) in shown
    assert "lost" in asked.evidence


def test_a_rule_is_made_asked_for_changed_and_retired_on_its_pages(estate: make.Estate, people: make.People) -> None:
    browser = signed_in(people.operator)
    family = Family.objects.get(pattern="mastercache:")
    timed = {"hours": "48", "cap": "10", "cron": helpers.DAILY, "reason": "no longer needed"}
    browser.post(reverse("backups:worker_new"), {"environment": "qa", "family": family.pk, **timed})
    rule = WorkerRule.objects.get()
    browser.post(reverse("backups:worker_ask", args=[rule.pk]), {"days": "30"})
    assert ApprovalRequest.objects.get(kind="worker_expiry").state == "pending"
    browser.post(reverse("backups:worker_change", args=[rule.pk]), {**timed, "cap": "20"})
    assert ApprovalRequest.objects.get(kind="worker_expiry").state == "withdrawn"
    browser.post(reverse("backups:worker_retire", args=[rule.pk]))
    rule.refresh_from_db()
    assert (rule.cap, rule.ttl, rule.retired_by) == (20, helpers.TWO_DAYS, people.operator)


def test_a_form_with_numbers_as_weekdays_says_why(estate: make.Estate, people: make.People) -> None:
    family = Family.objects.get(pattern="mastercache:")
    timed = {"hours": "48", "cap": "10", "cron": "0 3 * * 1-5", "reason": "no longer needed"}
    answer = signed_in(people.operator).post(
        reverse("backups:worker_new"), {"environment": "qa", "family": family.pk, **timed}
    )
    assert answer.status_code == 422
    assert "Give weekdays by name" in answer.content.decode()


def test_the_files_name_the_approval_and_its_end_but_no_key(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    configuration = page(people.operator, worker.rule.pk, name="worker_configuration")
    assert f'"APPROVAL": "{worker.approval}"' in configuration
    assert f'"id": "{estate.qa.namespace_id}"' in configuration
    assert f'"triggers": {{ "crons": [ "{worker.rule.cron}" ] }}' in configuration
    assert '"durable_objects": { "bindings": [ { "name": "ROUNDS", "class_name": "ExpiryRounds" } ] }' in configuration
    module = page(people.operator, worker.rule.pk, name="worker_module")
    assert '"pattern": "mastercache:"' in module
    assert helpers.KEY not in configuration + module


def test_a_stopped_worker_is_an_alarm_on_the_overview(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    assert worker.ask(approval=1) == "no"
    shown = signed_in(people.operator).get("/").content.decode()
    assert "stopped or is not heard" in shown
    assert reverse("backups:worker", args=[worker.rule.pk]) in shown
