"""Retention: what is kept until when and why; pins; the simulator."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from audit.models import Entry
from backups import policy
from backups.bucket import protection as bucket_protection
from backups.models import BucketProtection, Generation, Pin, StoredObject
from backups.retention import inputs as retention_inputs, pins, views as retention_views
from backups.retention.decide import State
from backups.retention.inputs import Kept, Retention
from kvops.environments.toml import DefinitionRefused, load
from kvops.models import Category, Environment, Family
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.gate.world import past_the_triggers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def kept(generation: Generation) -> Kept:
    return Retention().of([generation])[0]


def state(generation: Generation) -> State:
    return kept(generation).verdict.state


def test_a_backup_waits_until_the_days_of_its_family_are_over(estate: make.Estate) -> None:
    young, old = backup_of_age(estate.qa, 29), backup_of_age(estate.qa, 31)
    backup_of_age(estate.qa, 1)
    assert (state(young), state(old)) == (State.WAITING, State.DUE)


def test_the_dates_are_counted_from_the_end_of_the_backup(estate: make.Estate) -> None:
    found = kept(backup_of_age(estate.qa, 3)).verdict
    made = found.backup.finished_at
    assert made is not None
    assert (found.may_from, found.due_at) == (made + timedelta(days=14), made + timedelta(days=30))


def test_backups_of_caches_go_at_their_date_without_a_newer_one(estate: make.Estate) -> None:
    made = [backup_of_age(estate.qa, days, prefixes=["mastercache:"]) for days in (31, 29)]
    with past_the_triggers():
        Generation.objects.update(category="cache")
    old, young = (Generation.objects.get(pk=each.pk) for each in made)
    assert (state(old), state(young)) == (State.DUE, State.WAITING)


def test_the_newest_verified_backup_of_a_family_stays_whatever_its_age(estate: make.Estate) -> None:
    older, newest = backup_of_age(estate.qa, 500), backup_of_age(estate.qa, 400)
    backup_of_age(estate.qa, 300, status="damaged")
    backup_of_age(estate.production, 1)
    assert (state(older), state(newest)) == (State.DUE, State.NEWEST)


@pytest.mark.parametrize(("status", "stays"), [("missing", True), ("changed", True), ("known", False)])
def test_a_newer_backup_that_is_not_in_the_bucket_as_written_pushes_nothing_out(
    estate: make.Estate, status: str, *, stays: bool
) -> None:
    good, newer = backup_of_age(estate.qa, 400), backup_of_age(estate.qa, 1)
    StoredObject.objects.create(
        environment=newer.environment, generation=newer, key=f"{newer.stem}.json", status=status, size=2, seen_at=Now()
    )
    assert state(good) == (State.NEWEST if stays else State.DUE)


def test_nothing_stands_in_for_a_backup_that_does_not_cover_it(estate: make.Estate) -> None:
    whole = backup_of_age(estate.qa, 400)
    backup_of_age(estate.qa, 1, prefixes=["master:a:"])
    backup_of_age(estate.qa, 1, purpose="cleanup", patterns=["master:*"])
    assert state(whole) == State.NEWEST


def test_what_d1_holds_stands_in_for_nothing_of_kv(estate: make.Estate) -> None:
    of_kv, of_d1 = backup_of_age(estate.qa, 400), backup_of_age(estate.qa, 300, purpose="masters")
    assert (state(of_kv), state(of_d1)) == (State.NEWEST, State.NEWEST)
    backup_of_age(estate.qa, 1, purpose="masters")
    assert (state(of_kv), state(of_d1)) == (State.NEWEST, State.DUE)


def test_the_reason_says_why_a_newer_backup_of_given_names_replaces_nothing(estate: make.Estate) -> None:
    listed = backup_of_age(estate.qa, 400)
    given = backup_of_age(estate.qa, 1, purpose="cleanup", patterns=["master:*"])
    [of_listed], [of_given] = kept(listed).verdict.reasons, kept(given).verdict.reasons
    assert "replaces none that was listed" in of_listed.text
    assert of_given.text == "No newer verified backup holds everything in it."


def test_backups_that_cover_it_together_stand_in_for_it(estate: make.Estate) -> None:
    make.family("other:", Category.LEGACY)
    both = backup_of_age(estate.qa, 400, prefixes=["master:", "other:"])
    first = backup_of_age(estate.qa, 2)
    assert state(both) == State.NEWEST
    second = backup_of_age(estate.qa, 1, prefixes=[""])
    assert kept(both).verdict.newer == (second.pk,)
    assert first.pk not in kept(both).verdict.newer


def test_the_longest_rule_of_what_a_backup_holds_counts(estate: make.Estate) -> None:
    make.change_families("master:", retain_days=90)
    everything = backup_of_age(estate.qa, 60, prefixes=[""])
    backup_of_age(estate.qa, 1, prefixes=[""])
    assert state(everything) == State.WAITING


def test_what_no_family_covers_is_kept(estate: make.Estate) -> None:
    lost = backup_of_age(estate.qa, 400, prefixes=["gone:"])
    backup_of_age(estate.qa, 1, prefixes=["gone:"])
    assert state(lost) == State.NO_RULE


def test_what_lies_in_another_bucket_is_kept(estate: make.Estate) -> None:
    moved = backup_of_age(estate.qa, 400)
    backup_of_age(estate.qa, 1)
    estate.qa.environment.r2_bucket = "another"
    estate.qa.environment.save()
    moved.refresh_from_db()
    assert state(Generation.objects.select_related("environment", "namespace").get(pk=moved.pk)) == State.HELD


def test_a_newer_backup_in_another_bucket_takes_nobody_s_place(estate: make.Estate) -> None:
    here = backup_of_age(estate.qa, 400)
    before = estate.qa.environment.r2_bucket
    Environment.objects.filter(slug="qa").update(r2_bucket="another")
    estate.qa.environment.refresh_from_db()
    backup_of_age(estate.qa, 1)
    Environment.objects.filter(slug="qa").update(r2_bucket=before)
    assert state(Generation.objects.select_related("environment", "namespace").get(pk=here.pk)) == State.NEWEST


def test_a_pin_holds_a_backup_until_it_is_taken_off(estate: make.Estate, people: make.People) -> None:
    old = backup_of_age(estate.qa, 400)
    backup_of_age(estate.qa, 1)
    pin = pins.pin(old, reason="An audit asks for it", by=people.auditor)
    assert "An audit asks for it" in str(kept(old).verdict.reasons[0].text)
    pins.remove(pin, reason="The audit is over", by=people.operator)
    assert state(old) == State.DUE
    told = Entry.objects.filter(subject=f"generation:{old.pk}").values_list("action", "details__reason")
    assert list(told.order_by("seq")) == [
        ("generation.pinned", "An audit asks for it"),
        ("generation.unpinned", "The audit is over"),
    ]


def test_a_pin_is_refused_without_a_reason_or_twice(estate: make.Estate, people: make.People) -> None:
    old = backup_of_age(estate.qa, 400)
    with pytest.raises(pins.PinRefused, match="Give the reason for keeping"):
        pins.pin(old, reason=" ", by=people.reviewer)
    pins.pin(old, reason="no longer needed", by=people.reviewer)
    with pytest.raises(pins.PinRefused, match="already"):
        pins.pin(old, reason="not read any more", by=people.reviewer)
    with pytest.raises(pins.PinRefused, match="Only an operator"):
        pins.pin(old, reason="not read any more", by=people.nobody)


def test_a_reviewer_cannot_take_somebody_elses_pin_off(estate: make.Estate, people: make.People) -> None:
    pin = pins.pin(backup_of_age(estate.qa, 1), reason="no longer needed", by=people.auditor)
    with pytest.raises(pins.PinRefused, match="Only the person who pinned it"):
        pins.remove(pin, reason="not read any more", by=people.reviewer)
    assert Pin.objects.in_force().count() == 1


def test_a_shorter_rule_than_14_days_or_an_empty_one_is_refused() -> None:
    text = '[[family]]\nbinding = "SETTINGS"\npattern = "a:"\ncategory = "cache"\nowner = "x"\nexpiry = "ttl:60"\n'
    for rule in ("retain_days = 0", "retain_days = 13", "retain_days = 31", "notice_days = []", "notice_days = [0]"):
        with pytest.raises(DefinitionRefused):
            policy.Policy.read(load(text + rule))
    assert policy.Policy.read(load(text + "retain_days = 14\nnotice_days = [1, 5]")).families[0].notice_days == (5, 1)


def test_the_simulator_shows_what_another_rule_would_do(estate: make.Estate, people: make.People) -> None:
    backup_of_age(estate.qa, 40), backup_of_age(estate.qa, 20), backup_of_age(estate.qa, 1)
    family = Family.objects.get(pattern="master:")
    found = [
        (each.now.verdict.state, each.then.verdict.state) for each in retention_inputs.tried(Retention(), family, 15)
    ]
    assert found == [(State.DUE, State.DUE), (State.WAITING, State.DUE), (State.NEWEST, State.NEWEST)]
    page = signed_in(people.auditor).get(f"/retention/?family={family.pk}&days=15")
    assert "retain_days = 15" in page.text


def test_the_simulator_counts_the_oldest_backups_and_lists_all(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_views, "COUNTED", 2)
    monkeypatch.setattr(retention_views, "PAGE", 1)
    first, second, third = (backup_of_age(estate.qa, days) for days in (40, 20, 1))
    address = f"/retention/?family={Family.objects.get(pattern='master:').pk}&days=15"
    auditor = signed_in(people.auditor)
    page = auditor.get(address)
    assert page.context["counts"] == [("due", 1, 2), ("waiting", 1, 0)]
    assert "more than 2 backups" in page.text
    for after, shown, more in ((first.pk, second.pk, second.pk), (second.pk, third.pk, None)):
        page = auditor.get(f"{address}&after={after}")
        assert [each.now.generation.pk for each in page.context["backups"]] == [shown]
        assert page.context["after"] == more


def test_the_simulator_finds_every_backup_that_may_hold_keys_of_the_family(estate: make.Estate) -> None:
    mine = [
        backup_of_age(estate.qa, 9, prefixes=prefixes) for prefixes in (["master:"], [""], ["m"], ["x", "master:a"])
    ]
    mine.append(backup_of_age(estate.qa, 9, prefixes=["other"], purpose="cleanup", patterns=["x", "master:*"]))
    backup_of_age(estate.qa, 9, prefixes=["mastercache:"])
    backup_of_age(estate.qa, 9, prefixes=["master:"], purpose="cleanup", patterns=["master:"])
    family = Family.objects.get(pattern="master:")
    assert [each.then.generation for each in retention_inputs.tried(Retention(), family, 14, first=2)] == mine


def test_the_simulator_refuses_less_than_14_days(estate: make.Estate, people: make.People) -> None:
    family = Family.objects.get(pattern="master:")
    page = signed_in(people.operator).get(f"/retention/?family={family.pk}&days=13")
    assert (page.status_code, "At least 14 days" in page.text) == (422, True)


def test_the_page_filters_by_state_and_family(estate: make.Estate, people: make.People) -> None:
    due, waiting = backup_of_age(estate.qa, 40), backup_of_age(estate.qa, 20)
    backup_of_age(estate.qa, 1)
    family = Family.objects.get(pattern="master:")
    page = signed_in(people.auditor).get(f"/retention/?environment=qa&family={family.pk}&state=due").text
    assert f"/backups/{due.pk}/pin" in page
    assert f"/backups/{waiting.pk}/pin" not in page


def test_the_page_says_whose_owner_is_nobody(estate: make.Estate, people: make.People) -> None:
    make.change_families(owner=people.operator.email.upper())
    page = signed_in(people.auditor).get("/retention/").content.decode()
    assert "no person" not in page
    make.change_families("master:", owner="Platform team")
    page = signed_in(people.auditor).get("/retention/").content.decode()
    assert "The owner of 1 family has no account" in page
    assert page.count("no person") == 1


def test_a_backup_is_pinned_and_released_on_its_page(estate: make.Estate, people: make.People) -> None:
    old, browser = backup_of_age(estate.qa, 400), signed_in(people.operator)
    assert browser.post(f"/backups/{old.pk}/pin", {"reason": "Keep it as agreed"}).status_code == 302
    assert "Keep it as agreed" in browser.get(f"/backups/{old.pk}/").text
    pin = Pin.objects.get()
    browser.post(f"/backups/pins/{pin.pk}/remove", {"reason": "Enough as agreed"})
    assert "Enough as agreed" in browser.get(f"/backups/{old.pk}/").text


def test_who_comes_from_a_notice_only_confirms_the_pin(estate: make.Estate, people: make.People) -> None:
    old = backup_of_age(estate.qa, 40)
    browser = signed_in(people.operator)
    assert "Still needed" in browser.get(f"/backups/{old.pk}/pin?notice=1").content.decode()
    assert "Still needed" not in browser.get(f"/backups/{old.pk}/pin").content.decode()


# R2's lock


def locked(estate: make.Estate, days: float, **condition: Any) -> None:
    """The bucket of QA is locked so, and Cloudflare said it."""
    environment = estate.qa.environment
    bucket = estate.cloudflare.bucket(environment.account_id, environment.r2_bucket)
    bucket.rules.clear()
    bucket.lock("", days=days, **condition)
    bucket_protection.ask_cloudflare(environment)


def test_no_date_before_the_end_of_the_lock_is_shown_as_possible(estate: make.Estate) -> None:
    old = backup_of_age(estate.qa, 40)
    backup_of_age(estate.qa, 1)
    locked(estate, 60)
    verdict = kept(old).verdict
    assert old.finished_at is not None
    assert (verdict.state, verdict.due_at) == (State.WAITING, old.finished_at + timedelta(days=60))
    assert [str(reason.text) for reason in verdict.reasons] == [
        "A lock of the bucket keeps the backup until this date."
    ]
    assert list(retention_inputs.due(Generation.objects.all())) == []


@pytest.mark.parametrize("status", [503, 403])
def test_a_lock_that_cloudflare_does_not_tell_any_more_is_no_shorter(estate: make.Estate, status: int) -> None:
    old = backup_of_age(estate.qa, 40)
    backup_of_age(estate.qa, 1)
    locked(estate, 60)
    BucketProtection.objects.update(read_at=Now() - timedelta(hours=2))
    assert state(old) == State.WAITING
    estate.cloudflare.fault("bucket_lock", "refusal", status=status, code=10000, times=99)
    protection = bucket_protection.ask_cloudflare(estate.qa.environment)
    assert (protection.known, bucket_protection.locked_until(old, protection)) == (False, None)
    assert state(old) == State.WAITING


def test_a_lock_that_is_over_keeps_nothing(estate: make.Estate) -> None:
    old = backup_of_age(estate.qa, 40)
    backup_of_age(estate.qa, 1)
    locked(estate, 35)
    verdict = kept(old).verdict
    assert (verdict.state, [str(reason.text) for reason in verdict.reasons]) == (
        State.DUE,
        ["A lock of the bucket kept the backup until this date."],
    )


def test_a_lock_for_ever_is_a_reason_to_keep_the_backup(estate: make.Estate) -> None:
    old = backup_of_age(estate.qa, 40)
    backup_of_age(estate.qa, 1)
    locked(estate, 0, type="Indefinite")
    verdict = kept(old).verdict
    assert (verdict.state, str(verdict.reasons[-1].text)) == (
        State.HELD,
        "A lock of the bucket keeps the backup for ever.",
    )


def test_the_simulator_shows_no_date_before_the_end_of_the_lock(estate: make.Estate) -> None:
    old = backup_of_age(estate.qa, 40)
    backup_of_age(estate.qa, 1)
    locked(estate, 60)
    family = Family.objects.get(pattern="master:")
    [first, _] = retention_inputs.tried(Retention(), family, 14)
    assert old.finished_at is not None
    assert (first.then.verdict.state, first.then.verdict.due_at) == (
        State.WAITING,
        old.finished_at + timedelta(days=60),
    )
