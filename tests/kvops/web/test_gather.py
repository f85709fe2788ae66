"""Many questions in one statement."""

import pytest
from pytest_django import DjangoAssertNumQueries

from backups.models import Pin
from backups.retention import pins
from kvops.models import Heartbeat, Namespace, Run
from kvops.supervision import heartbeats
from kvops.web import gather
from kvops.web.objects import Objects
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age

pytestmark = pytest.mark.django_db


def test_all_questions_are_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    heartbeats.beat("sweep")
    beats = Heartbeat.objects.filter(name="sweep").values_list("name", "at")
    with django_assert_num_queries(1):
        found = gather.ask({"beats": beats}, {"runs": Run.objects.open(), "all": Heartbeat.objects.order_by("-at")})
    [(name, at)] = found["beats"]
    assert (name, gather.moment(at)) == ("sweep", Heartbeat.objects.get(name="sweep").at)
    assert ("runs" in found, "all" in found) == (False, True)


def test_a_question_that_cannot_have_an_answer_has_none() -> None:
    found = gather.ask({"none": Run.objects.none().values_list("pk")}, {"never": Run.objects.filter(pk__in=[])})
    assert list(found["none"]) == []
    assert "never" not in found


def test_what_several_parts_need_is_made_once() -> None:
    found = gather.ask({}, {})
    assert found.once("x", lambda: 1) == 1
    assert found.once("x", lambda: 2) == 1


def test_objects_have_the_fields_that_were_asked_for_and_read_any_other(
    estate: make.Estate, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    namespaces = Objects(Namespace.objects.filter(pk=estate.qa.pk), "binding", "environment__updated_at")
    with django_assert_num_queries(1):
        [found] = namespaces.of(gather.ask({"namespaces": namespaces.question}, {}), "namespaces")
        read = (found.pk, found.binding, found.environment_id, found.environment.updated_at)
    here = Namespace.objects.get(pk=estate.qa.pk)
    assert read == (here.pk, here.binding, here.environment_id, here.environment.updated_at)
    with django_assert_num_queries(1):
        assert found.environment.slug == here.environment.slug


def test_an_empty_relation_of_objects_is_none(estate: make.Estate, people: make.People) -> None:
    made = backup_of_age(estate.qa, 1)
    kept, removed = (
        pins.pin(made, reason="no longer needed", by=person) for person in (people.operator, people.operator2)
    )
    pins.remove(removed, reason="not read any more", by=people.operator2)
    asked = Objects(Pin.objects.order_by("pk"), "removed_by__name")
    found = asked.of(gather.ask({"pins": asked.question}, {}), "pins")
    assert [(one.pk, one.removed_by) for one in found] == [(kept.pk, None), (removed.pk, people.operator2)]
