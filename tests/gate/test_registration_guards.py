"""Registrations without a row: the rule of rotation, and the queries of registered and waiting families."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from kvops.inventory import registration

ROTATED = [("rotate_days", "Only values of settings are rotated. Leave it empty.")]


@pytest.mark.parametrize(
    ("category", "days", "faults"), [("cache", 1, ROTATED), ("cache", 0, []), ("settings", 30, []), ("settings", 0, [])]
)
def test_only_values_of_settings_are_rotated(category: str, days: int, faults: list[tuple[str, str]]) -> None:
    data: dict[str, Any] = {"category": category, "expiry": "ttl:60", "note": "", "rotate_days": days}
    assert [(field, str(why)) for field, why in registration._faults_of_design(data)] == faults


REGISTERED = (
    '"kvops_family" INNER JOIN "kvops_preparedchange" ON ("kvops_family"."registration_id" = '
    '"kvops_preparedchange"."id") LEFT OUTER JOIN "kvops_approvalrequest" ON ("kvops_preparedchange"."approval_id" = '
    '"kvops_approvalrequest"."id") WHERE "kvops_family"."registration_id" IS NOT NULL ORDER BY '
    '"kvops_family"."binding" ASC, "kvops_family"."pattern" ASC, "kvops_family"."exact" ASC'
)
WAITING = (
    '"kvops_preparedchange" LEFT OUTER JOIN "kvops_approvalrequest" ON ("kvops_preparedchange"."approval_id" = '
    '"kvops_approvalrequest"."id") LEFT OUTER JOIN "kvops_person" ON ("kvops_approvalrequest"."requester_id" = '
    '"kvops_person"."id") WHERE ("kvops_preparedchange"."applied_at" IS NULL AND "kvops_preparedchange"."discarded_at" '
    'IS NULL AND "kvops_preparedchange"."kind" = \'family\') ORDER BY "kvops_preparedchange"."id" ASC'
)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("act", "text"), [(registration.registered, REGISTERED), (registration.open_registrations, WAITING)]
)
def test_registrations_are_asked_for_with_one_query(act: Callable[[], Sequence[object]], text: str) -> None:
    with CaptureQueriesContext(connection) as found:
        assert act() == []
    assert [one["sql"].split(" FROM ", 1)[1] for one in found.captured_queries] == [text]
