"""The pages of comparisons: what they show whom, and that a value is shown on request and nowhere else."""

import json

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from audit.models import Entry as AuditEntry
from backups.comparisons import start as comparison_start
from backups.models import Comparison, Generation
from kvops.cloudflare import KvEntry
from kvops.models import Category, Environment
from kvops.wording import moment
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
ENTRIES = tuple(KvEntry(f"master:{n}", b'{"id":"%d"}' % n, None, None) for n in range(1, 5))


@pytest.fixture
def generation(estate: make.Estate) -> Generation:
    """A copy of four keys; since then the first was removed, the second changed and a fifth added."""
    restore_helpers.put(estate, estate.qa, *ENTRIES)
    made = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa, ENTRIES[0].name)
    restore_helpers.put(
        estate, estate.qa, KvEntry("master:2", b'{"id":"newer"}', None, None), KvEntry("master:5", b"x", None, None)
    )
    return made


@pytest.fixture
def browser(people: make.People) -> Client:
    return signed_in(people.operator)


def text(browser: Client, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def started(browser: Client, generation: Generation, against: str) -> Comparison:
    address = reverse("backups:comparison_start", args=[generation.pk])
    assert browser.post(address, {"against": against}).status_code == 302
    make.work()
    return Comparison.objects.latest("pk")


def address(comparison: Comparison, name: str = "comparison", *more: int) -> str:
    return reverse(f"backups:{name}", args=[comparison.generation_id, comparison.pk, *more])


def test_a_backup_elsewhere_is_not_compared(browser: Client, generation: Generation, estate: make.Estate) -> None:
    Environment.objects.filter(slug="qa").update(r2_endpoint="https://typo.example.com")
    start = reverse("backups:comparison_start", args=[generation.pk])
    answer = browser.post(start, {"against": f"kv:{estate.qa.pk}"})
    assert (answer.status_code, Comparison.objects.count()) == (409, 0)
    assert "The backup is in a bucket that the environment no longer uses." in answer.content.decode()


def test_a_backup_offers_to_be_compared(browser: Client, generation: Generation, estate: make.Estate) -> None:
    listed = reverse("backups:comparisons", args=[generation.pk])
    assert listed in text(browser, reverse("backups:generation", args=[generation.pk]))
    shown = text(browser, listed)
    assert "Not compared yet" in shown
    assert f'value="kv:{estate.qa.pk}" selected' in shown


def test_another_backup_of_the_same_keys_is_offered_first(
    browser: Client, generation: Generation, estate: make.Estate
) -> None:
    later = restore_helpers.verified_backup(estate.qa)
    shown = text(browser, reverse("backups:comparisons", args=[later.pk]))
    assert f'value="backup:{generation.pk}" selected' in shown
    assert f"master:* · {moment(generation.started_at)} · verified" in shown
    asked = text(browser, reverse("backups:comparisons", args=[later.pk]) + f"?with=kv:{estate.production.pk}")
    assert f'value="kv:{estate.production.pk}" selected' in asked


def test_the_counts_come_first_and_lead_to_the_keys(
    browser: Client, generation: Generation, estate: make.Estate
) -> None:
    comparison = started(browser, generation, f"kv:{estate.qa.pk}")
    shown = text(browser, address(comparison))
    assert "3 keys differ" in shown
    assert "<strong>2</strong> equal" in shown
    only = text(browser, address(comparison) + "?kind=changed&prefix=master:")
    assert ("master:2" in only, "master:5" in only) == (True, False)
    assert "Nothing matches" in text(browser, address(comparison) + "?prefix=other:")


def test_removed_keys_are_not_known_beside_a_backup_of_a_list_of_names(
    browser: Client, generation: Generation, estate: make.Estate
) -> None:
    later = restore_helpers.verified_backup(estate.qa, "master:2")
    with make.past_the_triggers():
        Generation.objects.filter(pk=later.pk).update(purpose="cleanup", prefixes=["master:"])
    comparison = Comparison.objects.create(
        generation=generation, other=later, namespace=estate.qa, run=later.run, finished_at=Now(), found={"equal": 1}
    )
    shown = text(browser, address(comparison))
    assert '<strong>?</strong> <span class="text-secondary">removed: not known</span>' in shown
    assert '<strong>0</strong> <span class="text-secondary">added</span>' in shown


def test_the_list_goes_on_behind_the_last_name(browser: Client, generation: Generation, estate: make.Estate) -> None:
    comparison = started(browser, generation, f"kv:{estate.qa.pk}")
    names = [f"master:n{n:03}" for n in range(60)]
    comparison.entries.bulk_create(
        [comparison.entries.model(comparison=comparison, name=n, kind="added") for n in names]
    )
    assert f"after={names[46]}" in text(browser, address(comparison)).replace("%3A", ":")
    assert names[59] in text(browser, address(comparison) + f"?after={names[46]}")


def test_the_differences_are_a_file(browser: Client, generation: Generation, estate: make.Estate) -> None:
    comparison = started(browser, generation, f"kv:{estate.qa.pk}")
    table = b"".join(browser.get(address(comparison, "comparison_file") + "?kind=removed")).decode()
    assert table.splitlines()[1:] == ['"master:1","removed","10",""']
    found = json.loads(b"".join(browser.get(address(comparison, "comparison_file") + "?format=json")))
    assert found["found"]["equal"] == 2
    assert [row["name"] for row in found["rows"]] == ["master:1", "master:2", "master:5"]


def test_a_key_is_shown_on_both_sides(browser: Client, generation: Generation, estate: make.Estate) -> None:
    comparison = started(browser, generation, f"kv:{estate.qa.pk}")
    asked = comparison.entries.get(name="master:2").pk
    answer = browser.post(address(comparison, "comparison_value", asked))
    shown = answer.content.decode()
    assert "&quot;newer&quot;" in shown
    assert answer.headers["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    assert AuditEntry.objects.filter(action="value.viewed", details__key="master:2").count() == 1


def test_the_value_of_a_setting_stays_masked(browser: Client, generation: Generation, estate: make.Estate) -> None:
    comparison = started(browser, generation, f"kv:{estate.qa.pk}")
    make.change_families("master:", category=Category.SETTINGS)
    asked = comparison.entries.get(name="master:2").pk
    shown = browser.post(address(comparison, "comparison_value", asked)).content.decode()
    assert "Masked: the key is a setting" in shown
    assert "newer" not in shown


def test_an_entry_of_a_backup_is_shown_beside_kv(browser: Client, generation: Generation) -> None:
    asked = {name: generation.entries.get(name=name).index for name in ("master:1", "master:3")}
    gone = browser.post(reverse("backups:entry_compare", args=[generation.pk, asked["master:1"]])).content.decode()
    assert "&quot;id&quot;: &quot;1&quot;" in gone
    same = browser.post(reverse("backups:entry_compare", args=[generation.pk, asked["master:3"]])).content.decode()
    assert "The values are equal" in same


def test_a_backup_that_cannot_be_read_is_said(browser: Client, generation: Generation, estate: make.Estate) -> None:
    comparison = started(browser, generation, f"kv:{estate.qa.pk}")
    del estate.s3.objects[generation.parts.get().object_key]
    answer = browser.post(
        address(comparison, "comparison_value", comparison.entries.get(name="master:2").pk), follow=True
    )
    assert "found no object" in answer.content.decode()
    assert AuditEntry.objects.filter(action="refused").count() == 1


def test_a_reviewer_may_compare_and_an_auditor_sees_it(
    generation: Generation, estate: make.Estate, people: make.People
) -> None:
    comparison = started(signed_in(people.reviewer), generation, f"kv:{estate.qa.pk}")
    auditor = signed_in(people.auditor)
    shown = text(auditor, address(comparison))
    assert ("master:2" in shown, "Show both" in shown) == (True, False)
    assert "Operators and reviewers start comparisons" in text(
        auditor, reverse("backups:comparisons", args=[generation.pk])
    )


def test_what_is_refused_is_said_and_recorded(browser: Client, generation: Generation, estate: make.Estate) -> None:
    comparison_start.with_kv(generation, estate.qa, actor=make.SETUP)
    asked = {"against": f"kv:{estate.qa.pk}"}
    answer = browser.post(reverse("backups:comparison_start", args=[generation.pk]), asked)
    assert (answer.status_code, "is already running" in answer.content.decode()) == (409, True)
    assert AuditEntry.objects.filter(action="refused").count() == 1
    wrong = browser.post(reverse("backups:comparison_start", args=[generation.pk]), {"against": "backup:0"})
    assert wrong.status_code == 422


def test_progress_is_shown_until_it_is_over(browser: Client, generation: Generation, estate: make.Estate) -> None:
    comparison = comparison_start.with_kv(generation, estate.qa, actor=make.SETUP)
    shown = text(browser, address(comparison))
    assert ("Nothing found yet" in shown, f'hx-get="{address(comparison, "comparison_live")}"' in shown) == (True, True)
    make.work()
    assert browser.get(address(comparison, "comparison_live")).headers["HX-Refresh"] == "true"
    assert f'href="{address(comparison)}"' in text(browser, reverse("run", args=[comparison.run_id]))


def test_a_comparison_is_found_under_its_own_backups_only(
    browser: Client, generation: Generation, estate: make.Estate
) -> None:
    later = restore_helpers.verified_backup(estate.qa)
    comparison = started(browser, generation, f"backup:{later.pk}")
    other = restore_helpers.verified_backup(estate.qa)
    assert browser.get(reverse("backups:comparison", args=[later.pk, comparison.pk])).status_code == 200
    assert browser.get(reverse("backups:comparison", args=[other.pk, comparison.pk])).status_code == 404
