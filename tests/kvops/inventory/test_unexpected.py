"""New keys where none may come: under a legacy family, or under a prefix that a clean-up emptied."""

import pytest

from audit.actions import Action
from audit.models import Entry
from kvops.inventory import merge as inventory_merge, scan as inventory_scan, unexplained as unexplained_deletions
from kvops.models import Key, Notification, NotificationEvent, Scan
from kvops.runbook import entries as runbook_entries
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def scan(estate: make.Estate, prefix: str = "") -> Scan:
    made = inventory_scan.start_scan(estate.qa, actor=make.SETUP, prefix=prefix)
    make.work()
    made.refresh_from_db()
    return made


def found(scan: Scan) -> list[str]:
    return list(unexplained_deletions.names(scan, new=True).values_list("name", flat=True))


@pytest.fixture
def grown(estate: make.Estate, people: make.People) -> Scan:
    """A scan after the first, which found two new keys of a legacy family, and others that may be new."""
    estate.put(estate.qa, "master:a:1")
    scan(estate)
    for name in ("master:b:1", "master:b:2", "mastercache:x", "other"):
        estate.put(estate.qa, name)
    return scan(estate)


def test_a_new_key_of_a_legacy_family_is_counted_and_kept(grown: Scan) -> None:
    assert (grown.added, grown.unexpected, found(grown)) == (4, 2, ["master:b:1", "master:b:2"])
    assert Entry.objects.get(action=Action.UNEXPECTED_FOUND).details == {"keys": 2}
    assert grown.run.result["unexpected"] == 2


def test_the_first_listing_of_a_name_and_a_known_key_raise_no_alarm(estate: make.Estate) -> None:
    for name in ("master:a:1", "master:b:1"):
        estate.put(estate.qa, name)
    assert scan(estate, "master:a:").unexpected == 0
    estate.put(estate.qa, "master:a:1", b"changed", expiration=4_000_000_000)
    estate.put(estate.qa, "master:a:2")
    assert found(scan(estate)) == ["master:a:2"]


def test_the_names_of_one_scan_are_kept_up_to_a_limit_and_all_counted(estate: make.Estate) -> None:
    scan(estate)
    for number in range(inventory_merge.UNEXPECTED_SHOWN + 2):
        estate.put(estate.qa, f"master:{number:05}")
    grown = scan(estate)
    assert (grown.unexpected, len(found(grown))) == (1_002, 1_000)
    assert found(grown)[-1] == "master:00999"


def test_operators_and_reviewers_are_told_and_the_overview_shows_it_until_it_is_acknowledged(
    grown: Scan, people: make.People
) -> None:
    told = Notification.objects.filter(event=NotificationEvent.KEY_UNEXPECTED)
    assert {one.recipient for one in told} == {str(people.operator), str(people.operator2), str(people.reviewer)}
    assert {(one.title, one.link) for one in told} == {
        ("qa/SETTINGS: 2 unexpected keys", f"/unexplained/{grown.pk}/?show=new")
    }
    browser = signed_in(people.operator)
    assert "qa/SETTINGS: 2 unexpected keys" in browser.get("/").text
    browser.post(f"/unexplained/{grown.pk}/acknowledge", {"note": "The old CMS, now off."})
    assert "qa/SETTINGS: 2 unexpected keys" not in browser.get("/").text
    assert Entry.objects.get(action=Action.MISSING_ACKNOWLEDGED).details["unexpected"] == 2


def test_the_runbook_has_an_entry_of_the_unexpected_keys(grown: Scan, people: make.People) -> None:
    entry = runbook_entries.of_subject(f"unexplained:{grown.pk}")
    assert entry is not None
    assert (entry.kind, entry.title) == ("outside", "Unexpected keys")
    assert f"/runbook/{entry.number}/" in signed_in(people.auditor).get("/runbook/?key=master:b:1").text


def test_the_pages_show_both_kinds_of_a_scan(grown: Scan, people: make.People) -> None:
    grown.unexplained_deletions.create(name="gone:1", category="cache")
    Scan.objects.filter(pk=grown.pk).update(unexplained=1)
    browser = signed_in(people.auditor)
    assert f"/unexplained/{grown.pk}/" in browser.get("/unexplained/?state=open").text
    deletions = browser.get(f"/unexplained/{grown.pk}/").text
    assert ("gone:1" in deletions, "master:b:1" in deletions) == (True, False)
    new = browser.get(f"/unexplained/{grown.pk}/?show=new&prefix=master:b:2").text
    assert ("gone:1" in new, "master:b:1" in new, "master:b:2" in new) == (False, False, True)
    assert b"".join(browser.get(f"/unexplained/{grown.pk}/names?show=new&format=csv")).count(b"master:b:") == 2


def test_the_key_tells_that_it_came_unexpectedly_also_when_it_is_gone_again(
    grown: Scan, estate: make.Estate, people: make.People
) -> None:
    unexplained_deletions.acknowledge_deletions(grown, by=people.operator, note="The old CMS, now off.")
    browser = signed_in(people.auditor)
    shown = browser.get("/key/qa/SETTINGS/", {"name": "master:b:1"}).text
    for part in ("Unexpected new key", "The old CMS, now off.", f'href="/unexplained/{grown.pk}/?show=new"'):
        assert part in shown, part
    assert "Unexpected new key" not in browser.get("/key/qa/SETTINGS/", {"name": "other"}).text
    Key.objects.all().delete()
    assert "A scan found this key new." in browser.get("/key/qa/SETTINGS/", {"name": "master:b:1"}).text


def test_the_audit_log_finds_the_scan_by_the_name_of_the_unexpected_key(grown: Scan, people: make.People) -> None:
    browser = signed_in(people.auditor)
    subjects = {entry.subject for entry in browser.get("/audit/", {"key": "master:b:1"}).context["entries"]}
    assert f"unexplained:{grown.pk}" in subjects
    assert not browser.get("/audit/", {"key": "other"}).context["entries"]
