"""Keys that vanish between two scans and nobody can say why."""

import csv
import io
import json
import re
import time

import pytest
from django.urls import reverse

from audit import log
from audit.actions import Action
from audit.models import Entry
from backups.generations import start as generation_start
from backups.models import Generation, Restore
from backups.restores import offer as gone_keys
from kvops.inventory import scan as inventory_scan, unexplained as unexplained_deletions
from kvops.models import Key, Notification, NotificationEvent, Scan
from kvops.runbook import entries as runbook_entries
from tests import make
from tests.fakes.namespaces import Stored
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def scan(estate: make.Estate, prefix: str = "") -> Scan:
    made = inventory_scan.start_scan(estate.qa, actor=make.SETUP, prefix=prefix)
    make.work()
    made.refresh_from_db()
    return made


def vanish(estate: make.Estate, *names: str) -> None:
    """Somebody deletes keys past the product."""
    namespace = estate.cloudflare.namespace(estate.qa.namespace_id)
    assert isinstance(namespace, Stored)
    for name in names:
        namespace.delete(name)


def found(scan: Scan) -> list[str]:
    return list(unexplained_deletions.names(scan).values_list("name", flat=True))


@pytest.fixture
def gone(estate: make.Estate, people: make.People) -> Scan:
    """Two keys vanished, one stayed."""
    for name in ("master:a:1", "master:a:2", "mastercache:x"):
        estate.put(estate.qa, name)
    scan(estate)
    vanish(estate, "master:a:1", "mastercache:x")
    return scan(estate)


def test_what_somebody_else_deleted_is_kept_with_its_names(gone: Scan) -> None:
    assert (gone.gone, gone.unexplained, found(gone)) == (2, 2, ["master:a:1", "mastercache:x"])
    assert list(gone.unexplained_deletions.order_by("name").values_list("category", flat=True)) == ["legacy", "cache"]


def test_it_is_recorded_and_shown_with_the_run(gone: Scan) -> None:
    assert Entry.objects.get(action=Action.MISSING_FOUND).details == {"keys": 2}
    assert gone.run.result["unexplained"] == 2


def test_a_first_scan_and_one_without_a_loss_explain_everything(estate: make.Estate) -> None:
    estate.put(estate.qa, "a")
    assert [scan(estate).unexplained, scan(estate).unexplained] == [0, 0]


def test_what_expired_is_explained(estate: make.Estate) -> None:
    now = int(time.time())
    estate.put(estate.qa, "expired", expiration=now + 3_600)
    estate.put(estate.qa, "too early", expiration=now + 7_200)
    scan(estate)
    Key.objects.filter(name="expired").update(expiration=now - 1)
    vanish(estate, "expired", "too early")
    assert found(scan(estate)) == ["too early"]


def test_a_scan_of_a_prefix_says_nothing_of_the_rest(estate: make.Estate) -> None:
    for name in ("a:1", "b:1"):
        estate.put(estate.qa, name)
    scan(estate)
    vanish(estate, "a:1", "b:1")
    assert found(scan(estate, "a:")) == ["a:1"]
    assert found(scan(estate)) == ["b:1"]


def test_ten_thousand_names_are_kept_and_paged(estate: make.Estate) -> None:
    names = [f"a:{number:05}" for number in range(10_000)]
    for name in names:
        estate.put(estate.qa, name)
    scan(estate)
    vanish(estate, *names)
    lost = scan(estate)
    assert (lost.unexplained, len(found(lost))) == (10_000, 10_000)
    assert unexplained_deletions.names(lost, prefix="a:099", after="a:09998").get().name == "a:09999"


def test_the_overview_raises_an_alarm_until_a_person_has_acknowledged_it(gone: Scan, people: make.People) -> None:
    operator = signed_in(people.operator)
    assert "qa/SETTINGS: 2 unexplained deletions" in operator.get("/").content.decode()
    operator.post(reverse("unexplained-acknowledge", args=[gone.pk]), {"note": "A cron job of the CMS, now off."})
    assert "qa/SETTINGS: 2 unexplained deletions" not in operator.get("/").content.decode()
    entry = Entry.objects.get(action=Action.MISSING_ACKNOWLEDGED)
    assert (entry.actor_id, entry.details["note"]) == (people.operator.pk, "A cron job of the CMS, now off.")


def test_the_alarm_counts_and_speaks_of_one_key_or_of_several(gone: Scan, people: make.People) -> None:
    overview = signed_in(people.operator).get("/").content.decode()
    assert "KVOps did not delete them, and they had not expired." in overview
    Scan.objects.filter(pk=gone.pk).update(unexplained=1)
    overview = signed_in(people.operator).get("/").content.decode()
    assert "KVOps did not delete it, and it had not expired." in overview


def backed_up_and_gone(estate: make.Estate) -> Generation:
    """A verified backup of two keys, which are deleted afterwards."""
    for name in ("master:a:1", "master:a:2"):
        estate.put(estate.qa, name, b"{}")
    scan(estate)
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    vanish(estate, "master:a:1", "master:a:2")
    return made


def test_the_page_restores_them_from_a_verified_backup(estate: make.Estate, people: make.People) -> None:
    made = backed_up_and_gone(estate)
    operator, address = signed_in(people.operator), f"/unexplained/{scan(estate).pk}/"
    page = operator.get(address).content.decode()
    assert f'action="/backups/{made.pk}/restores/new/"' in page
    assert "master:a:1\nmaster:a:2</textarea>" in page
    form = {"namespace": estate.qa.pk, "on_conflict": "skip", "names": "master:a:1\r\nmaster:a:2"}
    operator.post(f"/backups/{made.pk}/restores/new/", form)
    assert Restore.objects.get().generation == made
    assert "restores/new" not in signed_in(people.auditor).get(address).content.decode()


def test_of_too_many_keys_the_page_names_the_backup(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gone_keys, "MOST", 1)
    made = backed_up_and_gone(estate)
    page = signed_in(people.operator).get(f"/unexplained/{scan(estate).pk}/").content.decode()
    assert re.search(rf'too many keys for one restore.*\s+<a href="/backups/{made.pk}/">', page)
    assert "restores/new" not in page


def test_without_a_verified_backup_the_page_offers_no_restore(gone: Scan, people: make.People) -> None:
    page = signed_in(people.operator).get(f"/unexplained/{gone.pk}/").content.decode()
    assert "Restore these keys" not in page


def test_operators_and_reviewers_are_told(people: make.People, gone: Scan) -> None:
    told = Notification.objects.filter(event=NotificationEvent.DELETION_UNEXPLAINED)
    assert {one.recipient for one in told} == {str(people.operator), str(people.operator2), str(people.reviewer)}
    assert {(one.title, one.link) for one in told} == {
        ("qa/SETTINGS: 2 keys were deleted without an explanation", f"/unexplained/{gone.pk}/")
    }


@pytest.mark.parametrize(("keys", "deleted", "new"), [
    (1, "1 key was deleted without an explanation", "1 unexpected key"),
    (1_203, "1,203 keys were deleted without an explanation", "1,203 unexpected keys"),
])  # fmt: skip
def test_one_key_and_many_read_well(people: make.People, gone: Scan, keys: int, deleted: str, new: str) -> None:
    Notification.objects.all().delete()
    with log.transaction():
        unexplained_deletions.report(gone, deletions=keys, new=keys, actor=make.SETUP)
    titles = set(Notification.objects.values_list("title", flat=True))
    assert titles == {f"qa/SETTINGS: {deleted}", f"qa/SETTINGS: {new}"}


def test_it_is_acknowledged_once_with_a_note_by_who_may(gone: Scan, people: make.People) -> None:
    with pytest.raises(unexplained_deletions.AcknowledgeRefused, match="Only an operator or a reviewer"):
        unexplained_deletions.acknowledge_deletions(gone, by=people.auditor, note="no longer needed")
    with pytest.raises(unexplained_deletions.AcknowledgeRefused, match="Describe your findings"):
        unexplained_deletions.acknowledge_deletions(gone, by=people.reviewer, note=" ")
    unexplained_deletions.acknowledge_deletions(gone, by=people.reviewer, note="The nightly job.")
    with pytest.raises(unexplained_deletions.AcknowledgeRefused, match="nothing to acknowledge"):
        unexplained_deletions.acknowledge_deletions(gone, by=people.operator, note="Me too as agreed.")
    gone.refresh_from_db()
    assert (gone.acknowledged_by, gone.acknowledged_note) == (people.reviewer, "The nightly job.")


def test_the_runbook_has_an_entry_with_the_explanation_in_its_timeline(gone: Scan, people: make.People) -> None:
    unexplained_deletions.acknowledge_deletions(gone, by=people.reviewer, note="The nightly job.")
    entry = runbook_entries.of_subject(f"unexplained:{gone.pk}")
    assert entry is not None
    assert (entry.kind, entry.title) == ("outside", "Unexplained deletions")
    actions = [one.action for one in entry.timeline()[0]]
    assert actions.index(Action.MISSING_FOUND) < actions.index(Action.MISSING_ACKNOWLEDGED)
    auditor = signed_in(people.auditor)
    for query in ("kind=outside", "key=master:a:1", "kind=outside&environment=qa"):
        assert f"/runbook/{entry.number}/" in auditor.get(f"/runbook/?{query}").text
    assert f"/unexplained/{gone.pk}/" in auditor.get(f"/runbook/{entry.number}/").text


def test_the_pages_list_filter_and_link(gone: Scan, people: make.People) -> None:
    auditor = signed_in(people.auditor)
    listed = auditor.get("/unexplained/?state=open&environment=qa").content.decode()
    assert f"/unexplained/{gone.pk}/" in listed
    assert f"/unexplained/{gone.pk}/" not in auditor.get("/unexplained/?state=done").content.decode()
    page = auditor.get(f"/unexplained/{gone.pk}/?prefix=mastercache:").content.decode()
    assert "mastercache:x" in page
    assert "master:a:1" not in page
    assert f"?subject={Entry.objects.get(action=Action.MISSING_FOUND).subject}" in page
    assert f"/unexplained/{gone.pk}/" in auditor.get("/keys/qa/SETTINGS/").content.decode()


def test_the_names_can_be_had_as_files(gone: Scan, people: make.People) -> None:
    browser = signed_in(people.auditor)
    lines = b"".join(browser.get(f"/unexplained/{gone.pk}/names")).decode().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["master:a:1", "mastercache:x"]
    table = b"".join(browser.get(f"/unexplained/{gone.pk}/names?format=csv&prefix=master:")).decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(table))) == [["name"], ["master:a:1"]]


def test_a_refused_acknowledgement_is_said_and_recorded(gone: Scan, people: make.People) -> None:
    unexplained_deletions.acknowledge_deletions(gone, by=people.reviewer, note="no longer needed")
    page = signed_in(people.operator).post(
        reverse("unexplained-acknowledge", args=[gone.pk]), {"note": "again as agreed"}, follow=True
    )
    assert "nothing to acknowledge" in page.content.decode()
    assert Entry.objects.filter(action=Action.REFUSED, subject=f"unexplained:{gone.pk}").exists()
