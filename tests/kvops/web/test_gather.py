"""Many questions in one statement."""

import pytest
from pytest_django import DjangoAssertNumQueries

from kvops.models import Environment, Heartbeat, Run
from kvops.supervision import heartbeats
from kvops.web import gather
from kvops.web.objects import Objects
from tests import make

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
    environments = Objects(Environment.objects.filter(pk=estate.qa.environment_id), "slug", "updated_at")
    with django_assert_num_queries(1):
        [found] = environments.of(gather.ask({"environments": environments.question}, {}), "environments")
        read = (found.pk, found.slug, found.updated_at)
    here = Environment.objects.get(pk=estate.qa.environment_id)
    assert read == (here.pk, here.slug, here.updated_at)
    with django_assert_num_queries(1):
        assert found.name == here.name
