"""The queries of registered and waiting families."""

from collections.abc import Callable, Sequence

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from kvops.inventory import registration

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
