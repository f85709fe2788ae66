"""The pages of restores and undos, and what they let whom do."""

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import Entry as AuditEntry
from backups.models import Generation, Restore
from backups.restores import requests as restore_requests, selection as restore_selection, undo as stage_undo
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import KvEntry
from kvops.models import Environment, Notification, Run
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.backups.restores.helpers import Policy
from tests.signing import fresh, signed_in

pytestmark = pytest.mark.django_db
ENTRIES = tuple(KvEntry(f"master:a:{n}", f"value {n}".encode(), None, None) for n in "123")


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def browser(people: make.People) -> Client:
    return signed_in(people.operator)


@pytest.fixture
def generation(estate: make.Estate) -> Generation:
    """A verified copy of three keys, of which the first is lost and the second changed."""
    restore_helpers.put(estate, estate.qa, *ENTRIES)
    made = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa, ENTRIES[0].name)
    restore_helpers.put(estate, estate.qa, KvEntry(ENTRIES[1].name, b"newer", None, None))
    return made


def text(browser: Client, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def page(browser: Client, restore: Restore, query: str = "") -> str:
    return text(browser, reverse("backups:restore", args=[restore.pk]) + query)


def test_without_a_restore_the_list_says_what_to_do(browser: Client, estate: make.Estate) -> None:
    assert "Nothing restored yet" in text(browser, "/restores/")
    assert "Nothing matches" in text(browser, "/restores/?state=done")


def test_a_verified_backup_offers_to_be_restored(browser: Client, generation: Generation, people: make.People) -> None:
    address = reverse("backups:restore_new", args=[generation.pk])
    assert address in text(browser, reverse("backups:generation", args=[generation.pk]))
    assert address not in text(signed_in(people.reviewer), reverse("backups:generation", args=[generation.pk]))


def test_what_differs_is_left_unless_another_way_is_chosen(browser: Client, generation: Generation) -> None:
    form = browser.get(reverse("backups:restore_new", args=[generation.pk])).context["form"]
    assert [str(one.data["value"]) for one in form["on_conflict"].subwidgets if one.data["selected"]] == ["skip"]
    assert restore_selection.prepare_restore(generation, actor=make.SETUP).on_conflict == "skip"


def test_from_the_form_to_the_result(
    browser: Client, generation: Generation, people: make.People, estate: make.Estate
) -> None:
    asked = {"prefix": "master:", "namespace": estate.qa.pk, "on_conflict": "skip"}
    browser.post(reverse("backups:restore_new", args=[generation.pk]), asked)
    make.work()
    restore = Restore.objects.get()
    shown = page(browser, restore)
    assert "<strong>1</strong> not in KV: to be written" in shown
    assert "<strong>1</strong> in KV with another value: left as they are" in shown
    browser.post(reverse("backups:restore_submit", args=[restore.pk]), {"reason": "lost by mistake"})
    request = restore_helpers.request_of(restore)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    browser.post(reverse("backups:restore_start", args=[restore.pk]), {"confirm": "qa-settings"})
    writing = page(browser, restore)
    assert ("Keys being written" in writing, "> Preview <" in writing) == (True, False)
    make.work()
    assert "In KV with another value, left as it is" in page(browser, restore, "?outcome=left")
    assert (restore_helpers.fresh(restore).written, restore_helpers.fresh(restore).left) == (1, 1)
    assert "master:" in text(browser, "/restores/?state=done")


def posted(browser: Client, generation: Generation, query: str = "", **asked: object) -> Restore:
    """What the form prepared, compared with KV."""
    given = {"namespace": generation.namespace_id, "on_conflict": "skip", **asked}
    answer = browser.post(reverse("backups:restore_new", args=[generation.pk]) + query, given)
    assert answer.status_code == 302, answer.content.decode()
    make.work()
    return Restore.objects.latest("pk")


def listed(restore: Restore) -> list[str]:
    return list(restore.entries.order_by("index").values_list("name", flat=True))


def test_a_pasted_list_is_restored(browser: Client, generation: Generation) -> None:
    restore = posted(browser, generation, names="master:a:3\r\n\r\nmaster:a:1\nmaster:a:3")
    assert (listed(restore), restore.listed) == (["master:a:1", "master:a:3"], True)


def test_a_typed_name_may_spell_a_line_break(browser: Client, estate: make.Estate) -> None:
    restore_helpers.put(estate, estate.qa, *(KvEntry(name, b"1", None, None) for name in ("master:a", "master:a\nb")))
    generation = restore_helpers.verified_backup(estate.qa)
    assert listed(posted(browser, generation, names="master:a[U+000A]b")) == ["master:a\nb"]
    assert listed(posted(browser, generation, prefix="master:a[U+000A]")) == ["master:a\nb"]


def test_a_backup_elsewhere_is_not_restored(browser: Client, generation: Generation) -> None:
    Environment.objects.filter(slug="qa").update(r2_endpoint="https://typo.example.com")
    asked = {"namespace": generation.namespace_id, "on_conflict": "skip"}
    answer = browser.post(reverse("backups:restore_new", args=[generation.pk]), asked)
    assert (answer.status_code, Restore.objects.count()) == (422, 0)
    shown = answer.content.decode()
    assert shown.count("The backup is in a bucket that the environment no longer uses.") == 1


def test_what_the_backup_does_not_hold_is_said_and_left_out_on_request(browser: Client, generation: Generation) -> None:
    asked = {"names": "master:a:1\nmaster:b:1 ", "namespace": generation.namespace_id, "on_conflict": "skip"}
    answer = browser.post(reverse("backups:restore_new", args=[generation.pk]), asked)
    shown = " ".join(answer.content.decode().split())
    assert (answer.status_code, Restore.objects.count()) == (422, 0)
    assert "The backup does not contain 1 of these names:" in shown
    assert 'master:b:1<span class="mark-char">' in shown
    assert "Leave out the names that are not in the backup" in shown
    assert listed(posted(browser, generation, names=asked["names"], leave_out="on")) == ["master:a:1"]


def test_one_key_is_restored_from_its_own_page(browser: Client, generation: Generation) -> None:
    offered = reverse("backups:restore_new", args=[generation.pk]) + "?name=master%3Aa%3A1"
    assert offered in browser.get("/key/qa/SETTINGS/?name=master:a:1").content.decode()
    assert 'name="names"' not in text(browser, offered)
    restore = posted(browser, generation, "?name=master%3Aa%3A1")
    assert listed(restore) == ["master:a:1"]
    assert "master:a:1" in text(browser, "/restores/")


def test_a_name_with_a_line_break_is_one_key(browser: Client, estate: make.Estate) -> None:
    restore_helpers.put(estate, estate.qa, KvEntry("master:a\nb", b"x", None, None))
    assert listed(posted(browser, restore_helpers.verified_backup(estate.qa), "?name=master%3Aa%0Ab")) == [
        "master:a\nb"
    ]


def test_the_names_are_filtered_and_a_file(browser: Client, generation: Generation, people: make.People) -> None:
    restore = restore_helpers.done(generation, people)
    only = page(browser, restore, "?found=conflicts")
    assert ("master:a:2" in only, "master:a:1" in only) == (True, False)
    assert "Nothing matches" in page(browser, restore, "?prefix=other:")
    table = b"".join(browser.get(reverse("backups:restore_names", args=[restore.pk]) + "?outcome=written")).decode()
    assert table.splitlines()[1:] == ['"master:a:1","7","absent","written","equal"']


def test_a_key_is_shown_beside_what_kv_holds(browser: Client, generation: Generation, people: make.People) -> None:
    restore = restore_helpers.prepared(generation, people)
    answer = browser.post(reverse("backups:restore_value", args=[restore.pk, 1]))
    shown = answer.content.decode()
    assert (">value 2</code>" in shown, ">newer</code>" in shown) == (True, True)


def test_what_was_restored_is_compared_with_kv_again(
    browser: Client, generation: Generation, people: make.People, estate: make.Estate
) -> None:
    restore = restore_helpers.done(generation, people, names=["master:a:1"])
    restore_helpers.put(estate, estate.qa, KvEntry("master:a:1", b"written since", None, None))
    browser.post(reverse("backups:restore_look", args=[restore.pk]))
    make.work()
    assert "1 key differs" in page(browser, restore)
    assert restore.comparisons.get().found["value"] == 1


def test_before_anything_was_restored_there_is_nothing_to_compare(
    browser: Client, generation: Generation, people: make.People
) -> None:
    restore = restore_helpers.prepared(generation, people)
    answer = browser.post(reverse("backups:restore_look", args=[restore.pk]))
    assert (answer.status_code, restore.comparisons.count()) == (409, 0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"names": "nothing:"}, "The backup contains none of these names."),
        ({"names": "master:a:1", "prefix": "master:"}, "not both"),
        ({"names": "\n".join(map(str, range(10_001)))}, "At most 10,000 names at once."),
        ({"prefix": "nothing:"}, "The backup does not contain this key."),
        ({"prefix": "a\0"}, "No key can have this in its name"),
        ({"prefix": "é" * 300}, "at most 512 bytes"),
        ({"on_conflict": "destroy"}, "Select a valid choice"),
        ({"namespace": 0}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_restored_is_said(
    browser: Client, generation: Generation, estate: make.Estate, asked: dict[str, object], said: str
) -> None:
    given = {"prefix": "", "namespace": estate.qa.pk, "on_conflict": "skip", **asked}
    answer = browser.post(reverse("backups:restore_new", args=[generation.pk]), given)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert Restore.objects.count() == 0


def test_production_s_backup_is_offered_to_production_only(browser: Client, estate: make.Estate) -> None:
    restore_helpers.put(estate, estate.production, *ENTRIES)
    backup = restore_helpers.verified_backup(estate.production)
    shown = text(browser, reverse("backups:restore_new", args=[backup.pk]))
    assert f'value="{estate.production.pk}"' in shown
    assert f'value="{estate.qa.pk}"' not in shown


def test_a_backup_lists_what_was_restored_from_it(browser: Client, generation: Generation, people: make.People) -> None:
    address = reverse("backups:generation", args=[generation.pk])
    assert "Nothing yet. “Restore…” above" in text(browser, address)
    restore = restore_helpers.prepared(generation, people, names=["master:a:1"])
    assert f'href="{reverse("backups:restore", args=[restore.pk])}"' in text(browser, address)


def test_the_title_is_typed_before_anything_is_written(
    browser: Client, generation: Generation, people: make.People
) -> None:
    restore = restore_helpers.approved(restore_helpers.prepared(generation, people), people)
    answer = browser.post(reverse("backups:restore_start", args=[restore.pk]), {"confirm": "production-settings"})
    assert (answer.status_code, restore_helpers.fresh(restore).state) == (422, "approved")
    assert "Type it exactly as it is shown." in answer.content.decode()


def test_a_refusal_is_said_and_recorded(browser: Client, generation: Generation, people: make.People) -> None:
    restore = restore_helpers.prepared(generation, people, on_conflict=Policy.STOP)
    answer = browser.post(reverse("backups:restore_submit", args=[restore.pk]), {"reason": "no longer needed"})
    assert answer.status_code == 409
    assert "Existing keys that differ from the backup: 1." in answer.content.decode()
    assert AuditEntry.objects.filter(action="refused", subject=f"restore:{restore.pk}").count() == 1


def test_the_reviewer_sees_what_is_overwritten(generation: Generation, people: make.People) -> None:
    restore = restore_helpers.prepared(generation, people, on_conflict=Policy.OVERWRITE)
    request = restore_requests.submit(restore, reason="the newer ones are wrong", by=people.operator)
    shown = text(signed_in(people.reviewer), f"/approvals/{request.pk}/")
    assert "Restore 3 keys of backup" in shown
    assert "1 key with a different current value is overwritten." in shown
    assert "the newer ones are wrong" in shown
    assert "<strong>1</strong> in KV with another value: to be overwritten" in shown


def test_the_title_of_one_key_names_it(generation: Generation, people: make.People) -> None:
    restore = restore_helpers.prepared(generation, people, names=[ENTRIES[0].name])
    request = restore_requests.submit(restore, reason="lost by mistake", by=people.operator)
    title = f"Restore key {ENTRIES[0].name} of backup {generation.pk} into QA qa-settings"
    assert request.title == title
    for address in ("/approvals/", f"/approvals/{request.pk}/", f"/audit/?subject=approval:{request.pk}"):
        assert title in text(signed_in(people.reviewer), address)
    assert title in str([note.lines for note in Notification.objects.all()])


def test_a_reviewer_approves_with_the_title_typed(generation: Generation, people: make.People) -> None:
    request = restore_requests.submit(
        restore_helpers.prepared(generation, people), reason="no longer needed", by=people.operator
    )
    given = {"decision": "approve", "shown": request.digest, "confirm": "qa-settings"}
    fresh(people.reviewer).post(f"/approvals/{request.pk}/decide", given)
    assert Restore.objects.get().state == "approved"
    assert "An operator starts it on the page of the restore." in text(
        signed_in(people.reviewer), f"/approvals/{request.pk}/"
    )


def test_a_withdrawn_request_leads_back(browser: Client, generation: Generation, people: make.People) -> None:
    restore = restore_helpers.approved(restore_helpers.prepared(generation, people), people)
    browser.post(f"/approvals/{restore.approval_id}/withdraw", {"reason": "not needed"})
    assert "The request is withdrawn. not needed" in page(browser, restore)
    assert restore_helpers.fresh(restore).state == "prepared"


def test_a_restore_can_be_given_up(browser: Client, generation: Generation, people: make.People) -> None:
    restore = restore_helpers.prepared(generation, people)
    browser.post(reverse("backups:restore_end", args=[restore.pk]))
    assert restore_helpers.fresh(restore).state == "ended"
    assert browser.post(reverse("backups:restore_compare", args=[restore.pk])).status_code == 409


def test_a_comparison_can_be_given_up_and_stops(
    browser: Client, generation: Generation, people: make.People, estate: make.Estate
) -> None:
    given = {"prefix": "", "namespace": estate.qa.pk, "on_conflict": "skip"}
    browser.post(reverse("backups:restore_new", args=[generation.pk]), given)
    restore = Restore.objects.get()
    browser.post(reverse("backups:restore_end", args=[restore.pk]))
    make.work()
    assert Run.objects.get(kind=Run.Kind.PREVIEW).state == "stopped"


def test_a_stopped_restore_goes_on_or_is_ended(browser: Client, generation: Generation, people: make.People) -> None:
    restore = restore_helpers.prepared(generation, people)
    run = restore_helpers.started(restore, people)
    browser.post(f"/runs/{run.pk}/stop")
    make.work()
    assert "Stop here, restore no more keys" in page(browser, restore)
    browser.post(reverse("backups:restore_again", args=[restore.pk]))
    make.work()
    assert restore_helpers.fresh(restore).state == "done"


def test_the_approver_is_told_that_somebody_else_starts_it(generation: Generation, people: make.People) -> None:
    restore = restore_helpers.approved(restore_helpers.prepared(generation, people), people)
    shown = page(signed_in(people.reviewer), restore)
    assert "You are not an operator." in shown


def test_the_page_follows_the_decision(browser: Client, generation: Generation, people: make.People) -> None:
    restore = restore_helpers.prepared(generation, people)
    browser.post(reverse("backups:restore_submit", args=[restore.pk]), {"reason": "lost by mistake"})
    address = reverse("backups:restore_live", args=[restore.pk])
    assert f'hx-get="{address}"' in page(browser, restore)
    assert "HX-Refresh" not in browser.get(address)
    request = restore_helpers.request_of(restore)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    assert browser.get(address)["HX-Refresh"] == "true"


def test_the_live_part_reloads_the_page_at_the_end(
    browser: Client, generation: Generation, people: make.People
) -> None:
    restore = restore_helpers.prepared(generation, people)
    assert browser.get(reverse("backups:restore_live", args=[restore.pk]))["HX-Refresh"] == "true"


# Undo


def test_a_proven_deletion_can_be_undone_on_its_page(browser: Client, estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    address = reverse("backups:stage", args=[stage.pk])
    offered = text(browser, address)
    assert "Undo this deletion" in offered
    assert "2 days, 23 hours left" in offered
    browser.post(reverse("backups:stage_undo", args=[stage.pk]))
    make.work()
    shown = text(browser, address)
    assert "This deletion was undone: 3 keys were restored, 0 not." in shown
    assert "Undo this deletion" not in shown
    assert "Undo" in page(browser, Restore.objects.get())


def test_after_72_hours_the_page_says_what_to_do_instead(
    browser: Client, estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    monkeypatch.setattr(timing, "UNDO_WITHIN", 0.0)
    shown = text(browser, reverse("backups:stage", args=[stage.pk]))
    assert f'href="{reverse("backups:restore_new", args=[stage.generation_id])}"' in shown
    assert "Restore the 3 deleted keys" not in shown
    auditor = text(signed_in(people.auditor), reverse("backups:stage", args=[stage.pk]))
    assert "The backup can still be restored, with another approval" in auditor


def test_the_approver_of_the_deletion_is_not_offered_the_undo(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    offered = stage_undo.offer(stage, people.reviewer)
    assert offered is not None
    assert str(offered.why_not) == "You are not an operator."


def test_the_approval_of_a_deletion_says_that_it_covers_an_undo(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    shown = text(signed_in(people.reviewer), f"/approvals/{stage.approval_id}/")
    assert "For 72 hours after the deletion, an operator may restore exactly the deleted keys" in shown
    assert "The person who approves this may not do it." in shown
