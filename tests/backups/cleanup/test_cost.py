"""What a deletion costs, said before anybody is asked: the page, the evidence, and Cloudflare's own count."""

import json

import pytest
from django.utils import translation

from backups.cleanup import evidence as cleanup_evidence, requests as cleanup_requests
from backups.models import CleanupStage, Generation
from kvops.connections import quota
from kvops.connections.prices import Cost
from kvops.models import Environment
from kvops.templatetags.prices import dollars, duration
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in


def of(names: int, *, read: str = "bulk", plan: str = "paid", size: int = 1_024) -> Cost:
    stage = CleanupStage(names=names, environment=Environment(plan=plan))
    return cleanup_evidence.of_deletion(stage, Generation(read=read, bytes=names * size))


def test_a_million_keys_cost_what_the_design_says() -> None:
    found = of(1_000_000)
    assert found.operations == {"read": 1_000_000, "delete": 1_000_000, "list": 2_000}
    assert found.requests == 10_000 + 1_001 + 2_000
    assert duration(found.seconds) == "about 68 minutes"
    assert dollars(found.millicents) == "US$ 5.51"


@pytest.mark.parametrize(
    ("names", "more", "requests"),
    [
        (1, {}, 1 + 1 + 2),
        (100, {}, 1 + 1 + 2),
        (1_100, {}, 11 + 2 + 4),
        (20, {"read": "exact"}, 40 + 2 + 2),
        (1_100, {"plan": "free"}, 11 + 11 + 4),
        (10, {"size": 25 * 1024 * 1024}, 13 + 13 + 2),
    ],
)
def test_requests_are_counted_as_the_executor_makes_them(names: int, more: dict[str, object], requests: int) -> None:
    assert of(names, **more).requests == requests  # type: ignore[arg-type]


@pytest.mark.parametrize(("names", "days"), [(1, 1), (1_000, 1), (1_001, 2), (250_000, 250)])
def test_the_free_plan_takes_days(names: int, days: int) -> None:
    assert of(names, plan="free").free_days == days


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "about 1 second"), (119, "about 119 seconds"), (121, "about 3 minutes"), (9_000, "about 2.5 hours")],
)
def test_a_duration_is_said_in_the_unit_that_says_enough(seconds: int, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.django_db
@pytest.mark.parametrize("plan", Environment.Plan)
def test_the_deletion_sends_what_was_said_before(estate: make.Estate, people: make.People, plan: str) -> None:
    Environment.objects.update(plan=plan)
    cleanup_helpers.estate_with_masters(estate, [f"master:a:{number:04}" for number in range(250)])
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.approved(request, people)
    assert stage.approval is not None
    said = json.loads(stage.approval.evidence)["cost"]
    before = quota.today(make.ACCOUNTS["qa"])
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    sent = {name: count - before[name] for name, count in quota.today(make.ACCOUNTS["qa"]).items()}
    assert (sent["delete"], sent["read"], sent["list"]) == (said["deletes"], said["reads"], said["lists"])


@pytest.mark.django_db
def test_the_evidence_and_the_pages_show_it(estate: make.Estate, people: make.People) -> None:
    Environment.objects.update(plan="free")
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    shown = cleanup_evidence.shown_cost(stage, Generation.objects.get(stages=stage))
    assert cleanup_evidence.build(stage)["cost"] == shown
    for address in (f"/cleanup/stages/{stage.pk}/", f"/approvals/{stage.approval_id}/"):
        text = signed_in(people.reviewer).get(address).content.decode()
        assert "Cost of the deletion" in text
        assert "US$ 0.01" in text
        assert "fits into the quota of 1 day" in text
    text = signed_in(people.operator).get("/environments/").content.decode()
    assert "Free plan" in text
    assert "lists 1 / 1,000" in text


def test_an_amount_is_said_in_either_language() -> None:
    with translation.override("ja"):
        assert dollars(123_456_000) == "US$ 1,234.56"
