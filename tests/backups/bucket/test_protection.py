"""How a bucket is guarded is asked before each copy and every half hour; what is wrong or not known is never fine."""

from datetime import timedelta
from functools import partial
from operator import add

import pytest
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client

from audit.models import Entry
from backups.bucket import protection as bucket_protection
from backups.bucket.lock_rules import Locked
from backups.generations import start as generation_start
from backups.models import BucketProtection, Generation
from backups.templatetags.bucket import lasts
from kvops import clock, tasks
from kvops.cloudflare import LockRule
from kvops.models import Environment, Notification
from kvops.operations import registry
from tests import make
from tests.fakes.cloudflare_api import FakeBucket
from tests.signing import said, signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.hazard("B19")]

ROOT = "qa/backups/"


@pytest.fixture
def qa(estate: make.Estate) -> Environment:
    return estate.qa.environment


@pytest.fixture
def bucket(estate: make.Estate, qa: Environment) -> FakeBucket:
    """The bucket of QA, which the tests' estate locks for 30 days."""
    return estate.cloudflare.bucket(qa.account_id, qa.r2_bucket)


def recorded() -> list[str]:
    return list(Entry.objects.filter(action__startswith="bucket.").order_by("seq").values_list("action", flat=True))


def aged(**by: float) -> None:
    BucketProtection.objects.update(read_at=F("read_at") - timedelta(**by))


def test_a_bucket_that_was_never_looked_at_is_not_known(qa: Environment) -> None:
    protection = bucket_protection.known(qa)
    assert (protection.lock, protection.good, protection.problem) == ("unknown", False, "never")
    assert "not asked yet" in protection.why


def test_a_locked_and_private_bucket_is_good_and_recorded_once(qa: Environment) -> None:
    for _ in range(3):
        assert bucket_protection.ask_cloudflare(qa).good
    assert recorded() == ["bucket.guarded"]
    assert bucket_protection.known(qa).lock == "held"


@pytest.mark.parametrize(
    ("lock", "found"),
    [
        ({"prefix": ROOT, "days": 13}, "short"),
        ({"prefix": ROOT, "enabled": False}, "disabled"),
        ({"prefix": "qa/backups/kv/"}, "narrow"),
        ({"prefix": "other/"}, "missing"),
        ({"prefix": ROOT, "type": "Indefinite"}, "held"),
        ({"prefix": ROOT, "type": "Date", "date": "2099-01-01"}, "held"),
        ({"prefix": ROOT, "type": "Date", "date": "2020-01-01T00:00:00Z"}, "short"),
    ],
)
def test_each_kind_of_rule_is_understood(
    qa: Environment, bucket: FakeBucket, lock: dict[str, object], found: str
) -> None:
    bucket.rules.clear()
    bucket.lock(**lock)  # type: ignore[arg-type]
    assert bucket_protection.ask_cloudflare(qa).lock == found
    assert recorded() == ["bucket.guarded" if found == "held" else "bucket.unguarded"]


def test_a_drift_is_recorded_when_it_comes_and_when_it_goes(qa: Environment, bucket: FakeBucket) -> None:
    bucket_protection.ask_cloudflare(qa)
    rules, bucket.rules = bucket.rules, []
    assert bucket_protection.ask_cloudflare(qa).lock == "missing"
    bucket.rules = rules
    assert bucket_protection.ask_cloudflare(qa).good
    assert recorded() == ["bucket.guarded", "bucket.unguarded", "bucket.guarded"]


def test_a_rule_that_locks_other_data_too_is_told(qa: Environment, bucket: FakeBucket) -> None:
    bucket.lock("qa/")
    protection = bucket_protection.ask_cloudflare(qa)
    assert (protection.lock, protection.wider, protection.good) == ("held", ["rule-2"], False)


def test_a_bucket_that_anybody_can_read_is_told(qa: Environment, bucket: FakeBucket) -> None:
    bucket.r2_dev = True
    bucket.connect("copies.example.com")
    bucket.connect("off.example.com", enabled=False)
    protection = bucket_protection.ask_cloudflare(qa)
    assert [name.partition(".")[2] for name in protection.public] == ["r2.dev", "example.com"]
    assert not protection.good
    assert Entry.objects.get(action="bucket.unguarded").details["public"] == protection.public


@pytest.mark.parametrize(
    ("status", "code", "problem"), [(403, 10000, "permission"), (404, 10006, "no_bucket"), (400, 1, "refused")]
)
def test_what_cloudflare_does_not_tell_is_not_known_and_says_what_to_do(
    estate: make.Estate, qa: Environment, status: int, code: int, problem: str
) -> None:
    bucket_protection.ask_cloudflare(qa)
    estate.cloudflare.fault("bucket_lock", "refusal", status=status, code=code, times=9)
    protection = bucket_protection.ask_cloudflare(qa)
    assert (protection.lock, protection.problem, protection.good) == ("unknown", problem, False)
    assert protection.why
    assert recorded() == ["bucket.guarded", "bucket.guard_unknown"]


def test_an_answer_nobody_understands_is_not_known(qa: Environment, bucket: FakeBucket) -> None:
    bucket.rules[0]["condition"] = {"type": "Whenever"}
    assert bucket_protection.ask_cloudflare(qa).problem == "refused"


def test_an_outage_changes_nothing_for_an_hour_and_then_nothing_is_known(estate: make.Estate, qa: Environment) -> None:
    bucket_protection.ask_cloudflare(qa)
    estate.cloudflare.fault("managed_domain", "error", times=99)
    assert bucket_protection.ask_cloudflare(qa).good
    aged(seconds=3601)
    assert (bucket_protection.known(qa).lock, bucket_protection.known(qa).problem) == ("unknown", "silent")
    bucket_protection.ask_cloudflare(qa)
    assert recorded() == ["bucket.guarded", "bucket.guard_unknown"]
    estate.cloudflare.heal()
    assert bucket_protection.ask_cloudflare(qa).good


def test_of_another_bucket_nothing_is_known(qa: Environment) -> None:
    bucket_protection.ask_cloudflare(qa)
    Environment.objects.filter(pk=qa.pk).update(r2_bucket="another")
    assert bucket_protection.known(Environment.objects.get(pk=qa.pk)).problem == "never"


def test_a_bucket_of_another_account_is_not_asked_about(estate: make.Estate, qa: Environment) -> None:
    qa.r2_endpoint = f"https://{'c' * 32}.r2.cloudflarestorage.com"
    assert bucket_protection.ask_cloudflare(qa).problem == "another_account"
    assert not estate.cloudflare.calls("bucket_lock")


def test_a_bucket_kept_in_the_union_is_asked_about_there(estate: make.Estate, qa: Environment) -> None:
    asked: list[str | None] = []
    estate.cloudflare.hook("bucket_lock", lambda request: asked.append(request.headers.get("cf-r2-jurisdiction")))
    bucket_protection.ask_cloudflare(qa)
    qa.r2_endpoint = f"https://{qa.account_id}.eu.r2.cloudflarestorage.com"
    bucket_protection.ask_cloudflare(qa)
    assert asked == [None, "eu"]


# When


def test_every_look_of_the_sweep_asks_when_half_an_hour_is_over(
    estate: make.Estate, qa: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.look_into_bucket(qa.pk)
    asked = bucket_protection.known(qa).read_at
    assert asked is not None
    for seconds, calls in [(0, 1), (1799, 1), (1800, 2)]:
        monkeypatch.setattr(clock, "now", partial(add, asked, timedelta(seconds=seconds)))
        tasks.look_into_bucket(qa.pk)
        assert len(estate.cloudflare.calls("bucket_lock")) == calls
    assert bucket_protection.ask_when_due in registry.LOOKS


def test_what_is_not_known_is_asked_at_every_look(estate: make.Estate, qa: Environment, bucket: FakeBucket) -> None:
    estate.cloudflare.fault("bucket_lock", "refusal", status=403, code=10000)
    tasks.look_into_bucket(qa.pk)
    tasks.look_into_bucket(qa.pk)
    assert bucket_protection.known(qa).good


def test_what_is_wrong_is_asked_at_every_look_until_it_is_put_right(
    estate: make.Estate, qa: Environment, bucket: FakeBucket
) -> None:
    rules = bucket.rules.copy()
    bucket.rules.clear()
    tasks.look_into_bucket(qa.pk)
    assert not bucket_protection.known(qa).good
    bucket.rules += rules
    tasks.look_into_bucket(qa.pk)
    assert bucket_protection.known(qa).good


def back_up(estate: make.Estate) -> Generation:
    estate.put(estate.qa, "master:a")
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    return made


def test_each_backup_is_preceded_by_a_look_and_made_whatever_it_finds(
    estate: make.Estate, qa: Environment, bucket: FakeBucket
) -> None:
    bucket.rules.clear()
    assert back_up(estate).status == "verified"
    assert bucket_protection.known(qa).lock == "missing"
    estate.cloudflare.fault("bucket_lock", "refusal", status=403, code=10000, times=9)
    assert back_up(estate).status == "verified"
    assert bucket_protection.known(qa).problem == "permission"
    assert len(estate.cloudflare.calls("bucket_lock")) == 2


# Until when


def test_a_backup_is_locked_until_its_newest_object_is_let_go(estate: make.Estate) -> None:
    made = back_up(estate)
    assert made.finished_at is not None
    assert bucket_protection.locked_until(made) == Locked(made.finished_at + timedelta(days=30))
    assert bucket_protection.lock_of(made) == "held"


def test_of_a_backup_in_an_unlocked_bucket_it_is_said_and_without_an_answer_nothing_is(
    estate: make.Estate, bucket: FakeBucket
) -> None:
    bucket.rules.clear()
    made = back_up(estate)
    assert (bucket_protection.locked_until(made), bucket_protection.lock_of(made)) == (Locked(), "missing")
    aged(hours=2)
    assert (bucket_protection.locked_until(made), bucket_protection.lock_of(made)) == (None, "unknown")


@pytest.mark.parametrize("address", ["/backups/{}/", "/backups/", "/retention/"])
def test_no_page_shows_a_lock_that_was_read_more_than_an_hour_ago(
    estate: make.Estate, operator: Client, address: str
) -> None:
    at = address.format(back_up(estate).pk)
    unknown = '<span class="text-secondary">not known</span>'
    assert unknown not in operator.get(at).text
    aged(hours=2)
    assert unknown in operator.get(at).text


def test_of_a_backup_in_a_bucket_that_is_used_no_more_nothing_is_known(estate: make.Estate, qa: Environment) -> None:
    made = back_up(estate)
    Environment.objects.filter(pk=qa.pk).update(r2_bucket="another")
    BucketProtection.objects.update(of=bucket_protection._of(Environment.objects.get(pk=qa.pk)), read_at=Now())
    assert bucket_protection.locked_until(Generation.objects.select_related("environment").get(pk=made.pk)) is None


# On the pages


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


@pytest.mark.parametrize(("hours", "said"), [(24, "1 day each"), (36, "1.5 days each"), (48, "2 days each")])
def test_the_duration_of_a_lock_is_said_in_days(hours: int, said: str) -> None:
    assert lasts(LockRule("lock", "", enabled=True, seconds=hours * 3600)) == said


def test_a_good_bucket_is_shown_without_an_alarm(qa: Environment, operator: Client) -> None:
    bucket_protection.ask_cloudflare(qa)
    page = operator.get("/storage/").content.decode()
    assert "30 days each" in page
    assert "Instructions" not in page
    assert "alert-" not in operator.get("/backups/").content.decode()


def test_what_is_wrong_is_an_alarm_with_what_to_do(qa: Environment, bucket: FakeBucket, operator: Client) -> None:
    bucket.rules.clear()
    bucket.lock("")
    bucket.lock(ROOT, enabled=False)
    bucket.r2_dev = True
    bucket_protection.ask_cloudflare(qa)
    for address in ("/", "/backups/"):
        page = operator.get(address).content.decode()
        assert "A lock of QA covers more than the backups" in page
        assert "Anybody can read the bucket of QA" in page
    assert "npx wrangler r2 bucket dev-url disable backups" in operator.get("/storage/").content.decode()


@pytest.mark.parametrize(
    ("lock", "title"),
    [
        ({"prefix": "other/"}, "The bucket of QA does not lock the backups"),
        ({"prefix": ROOT, "days": 1}, "The lock on the backups of QA is too short"),
        ({"prefix": ROOT, "enabled": False}, "The lock on the backups of QA is disabled"),
        ({"prefix": f"{ROOT}kv/"}, "The lock of QA covers only part of the backups"),
    ],
)
def test_every_lack_of_a_lock_is_an_alarm(
    qa: Environment, bucket: FakeBucket, operator: Client, lock: dict[str, object], title: str
) -> None:
    bucket.rules.clear()
    bucket.lock(**lock)  # type: ignore[arg-type]
    bucket_protection.ask_cloudflare(qa)
    assert title in operator.get("/").content.decode()
    assert "kvops-backups-qa qa/backups/ --retention-days 14" in operator.get("/storage/").content.decode()


def test_what_is_not_known_is_an_alarm_and_never_good(estate: make.Estate, qa: Environment, operator: Client) -> None:
    estate.cloudflare.fault("bucket_lock", "refusal", status=403, code=10000, times=9)
    page = operator.post("/storage/qa/protection", follow=True)
    assert "Workers R2 Storage Read" in said(page)[0]
    assert "Not known" in page.content.decode()
    assert "Bucket protection of QA is unknown" in operator.get("/").content.decode()


def test_the_button_asks_cloudflare(estate: make.Estate, operator: Client) -> None:
    page = operator.post("/storage/qa/protection", follow=True)
    assert said(page) == ["Cloudflare reported the bucket protection of QA."]
    assert len(estate.cloudflare.calls("bucket_lock")) == 1


def test_the_page_of_a_backup_says_until_when_it_is_locked(
    estate: make.Estate, operator: Client, bucket: FakeBucket
) -> None:
    bucket.rules.clear()
    bucket.lock(ROOT, type="Indefinite")
    made = back_up(estate)
    address = f"/backups/{made.pk}/"
    assert "for ever" in operator.get(address).content.decode()
    bucket.rules.clear()
    bucket_protection.ask_cloudflare(made.environment)
    assert "not locked" in operator.get(address).content.decode()


def test_people_are_told_of_each_drift(
    estate: make.Estate, qa: Environment, bucket: FakeBucket, people: make.People
) -> None:
    bucket_protection.ask_cloudflare(qa)
    bucket.rules.clear()
    bucket.connect("copies.example.com")
    for _ in range(2):
        bucket_protection.ask_cloudflare(qa)
    told = Notification.objects.get(event="bucket.unprotected", person=people.operator)
    assert told.title == "The bucket protection of QA is incomplete"
    assert told.lines == ["Lock: not locked", "Public at: copies.example.com"]


def test_the_overview_folds_the_lock_of_each_bucket(qa: Environment, bucket: FakeBucket, operator: Client) -> None:
    bucket_protection.ask_cloudflare(qa)
    page = operator.get("/").text.partition("Namespaces, scans, buckets and drills")[2]
    assert page.count(">Bucket</a>") == 2
    assert all(f'<span class="text-secondary">{word}</span>' in page for word in ("locked", "not known"))


def test_a_lock_on_what_several_environments_share_is_not_too_wide(qa: Environment, bucket: FakeBucket) -> None:
    Environment.objects.filter(pk=qa.pk).update(key_template="backups/{environment}")
    bucket.rules.clear()
    bucket.lock("backups/", days=30)
    protection = bucket_protection.ask_cloudflare(Environment.objects.get(pk=qa.pk))
    assert (protection.lock, protection.wider, protection.good) == ("held", [], True)


@pytest.mark.parametrize("sandbox", [False, True])
def test_the_sandbox_says_that_its_bucket_does_not_enforce_the_lock(
    qa: Environment, operator: Client, monkeypatch: pytest.MonkeyPatch, *, sandbox: bool
) -> None:
    bucket_protection.ask_cloudflare(qa)
    monkeypatch.setattr(settings, "SANDBOX", sandbox)
    said_so = "its bucket shows the lock but does not enforce it" in operator.get("/storage/").content.decode()
    assert said_so == sandbox
