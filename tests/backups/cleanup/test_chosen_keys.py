"""A clean-up of a cache made from a filter of the keys page: exactly those keys, from the list to the proof."""

import pytest

from backups.cleanup import preparation, qa, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupRequest, CleanupStage
from kvops.inventory.selection import Selection
from kvops.models import Category, Family
from tests import make
from tests.backups.cleanup import helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
LATER = 4_000_000_000
WITHOUT = Selection(without_expiration=True)


@pytest.fixture
def cache(estate: make.Estate) -> make.Estate:
    """A cache with two keys that never expire and one that does, in each environment."""
    for namespace in (estate.qa, estate.production):
        estate.put(namespace, "mastercache:a")
        estate.put(namespace, "mastercache:b")
        estate.put(namespace, "mastercache:c", expiration=LATER)
    helpers.scan(estate.qa, estate.production)
    return estate


@pytest.fixture
def request_(cache: make.Estate, people: make.People) -> CleanupRequest:
    return cleanup_requests.request(
        binding="SETTINGS", prefix="mastercache:", reason="never expire", by=people.operator, only=WITHOUT
    )


def names(stage: CleanupStage) -> list[str]:
    return list(stage.entries.order_by("index").values_list("name", flat=True))


def keys(estate: make.Estate) -> list[str]:
    known = [f"mastercache:{letter}" for letter in "abc"]
    return [name for name in known if estate.cloudflare.get(estate.qa.namespace_id, name)]


def test_one_click_on_the_keys_page_asks_for_exactly_the_keys_of_the_filter(
    cache: make.Estate, people: make.People
) -> None:
    browser = signed_in(people.operator)
    family = Family.objects.get(pattern="mastercache:")
    page = browser.get(f"/keys/qa/SETTINGS/?family={family.pk}&expiring=none")
    assert [key.name for key in page.context["page"].keys] == ["mastercache:a", "mastercache:b"]
    assert "Clean up the keys without an expiration" in page.text
    data = {"binding": "SETTINGS", "prefix": "mastercache:", "without_expiration": "1", "reason": "from the keys page"}
    answer = browser.post("/cleanup/new/", data)
    made = CleanupRequest.objects.get()
    assert answer.headers["Location"] == f"/cleanup/{made.pk}/"
    preparation.freeze_stage(helpers.stage_of(made), by=people.operator)
    assert names(helpers.stage_of(made)) == ["mastercache:a", "mastercache:b"]
    assert "only keys without an expiration" in browser.get(f"/cleanup/{made.pk}/").text


@pytest.mark.parametrize(
    "address", ["prefix=master:&expiring=none", "prefix=mastercache:", "prefix=mastercache:&part=a&expiring=none", ""]
)
def test_other_filters_offer_no_such_click(cache: make.Estate, people: make.People, address: str) -> None:
    page = signed_in(people.operator).get(f"/keys/qa/SETTINGS/?{address}").text
    assert "Clean up the keys without an expiration" not in page


def test_the_chosen_keys_are_deleted_and_the_others_left_without_an_explanation(
    request_: CleanupRequest, cache: make.Estate, people: make.People
) -> None:
    stage = helpers.accepted(request_, people)
    assert keys(cache) == ["mastercache:c"]
    assert (stage.deleted, stage.skipped, stage.others) == (2, 0, 0)


def test_the_reviewer_sees_the_condition(request_: CleanupRequest, people: make.People) -> None:
    stage = helpers.submitted(request_, people)
    page = signed_in(people.reviewer).get(f"/approvals/{stage.approval_id}/").text
    assert "only keys without an expiration" in page


def test_a_key_that_got_an_expiration_before_the_backup_is_not_deleted(
    request_: CleanupRequest, cache: make.Estate, people: make.People
) -> None:
    preparation.freeze_stage(helpers.stage_of(request_), by=people.operator)
    cache.put(cache.qa, "mastercache:b", expiration=LATER)
    preparation.prepare_stage(helpers.stage_of(request_), by=people.operator)
    make.work()
    helpers.search_code(request_)
    helpers.share(helpers.stage_of(request_), people)
    cleanup_requests.submit(helpers.stage_of(request_), by=people.operator)
    helpers.approve(helpers.stage_of(request_), people)
    cleanup_requests.start_deletion(helpers.stage_of(request_), by=people.operator)
    make.work()
    stage = helpers.stage_of(request_)
    assert keys(cache) == ["mastercache:b", "mastercache:c"]
    assert [(one.name, one.outcome) for one in stage.exceptions.all()] == [("mastercache:b", "changed")]


def test_without_such_keys_the_others_do_not_disprove_it(cache: make.Estate, people: make.People) -> None:
    only = Selection(member="v", equals="1")
    made = cleanup_requests.request(
        binding="SETTINGS", prefix="mastercache:", reason="no longer needed", by=people.operator, only=only
    )
    preparation.freeze_stage(helpers.stage_of(made), by=people.operator)
    preparation.prepare_stage(helpers.stage_of(made), by=people.operator)
    make.work()
    assert helpers.stage_of(made).state == "confirmed"


def test_another_choice_is_another_scope(request_: CleanupRequest) -> None:
    stage = helpers.stage_of(request_)
    digest = qa.scope_digest(stage)
    stage.request.only = {}
    assert qa.scope_digest(stage) != digest


def test_only_keys_of_a_cache_are_chosen_so(cache: make.Estate, people: make.People) -> None:
    make.family("flag:", Category.SETTINGS)
    for prefix, exact in (("mastercache:a", True), ("flag:", True)):
        with pytest.raises(CleanupRefused, match="Only keys of a cache"):
            cleanup_requests.request(
                binding="SETTINGS",
                prefix=prefix,
                exact=exact,
                reason="no longer needed",
                by=people.operator,
                only=WITHOUT,
            )
