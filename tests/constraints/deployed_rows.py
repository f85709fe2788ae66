"""The table's part about deployed code and traced calls."""

from django.db.models.functions import Now

from kvops.models import DeployedCode, DeployedLook, StillRead, TraceQuery
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import again, change
from tests.constraints.rows import RowAttempt


def code(w: BackupsWorld, **values: object) -> DeployedCode:
    """A version of a Worker that is deployed."""
    made = {"environment": w.environment, "kind": "worker", "name": "api", "version": "v1", "seen_at": Now()}
    return DeployedCode.objects.create(**{**made, **values})


def query(w: BackupsWorld, **values: object) -> TraceQuery:
    """A query of the traces."""
    made = {"namespace": w.namespace, "prefix": "a:", "since": Now(), "until": Now()}
    return TraceQuery.objects.create(**{**made, **values})


def read(w: BackupsWorld, **values: object) -> StillRead:
    """A traced call."""
    made = {"worker": "api", "version": "v1", "access": "read", "count": 1, "last_at": Now()}
    return StillRead.objects.create(**{"query": query(w), **made, **values})


ANSWERED = "still_read_answered_by_someone_who_says_why"
DEPLOYED = [
    RowAttempt("deployed_once", lambda w: again(code(w))),
    RowAttempt(
        "kvops_deployedlook_environment_id_key",
        lambda w: again(DeployedLook.objects.create(environment=w.environment, at=Now())),
    ),
    RowAttempt("trace_query_once_per_prefix", lambda w: again(query(w))),
    RowAttempt("trace_query_has_a_prefix", lambda w: query(w, prefix="")),
    RowAttempt("still_read_once", lambda w: again(read(w))),
    RowAttempt(ANSWERED, lambda w: read(w, answer="x"), "nobody"),
    RowAttempt(ANSWERED, lambda w: read(w, answered_by=w.operator, answered_at=Now()), "no words"),
    RowAttempt(ANSWERED, lambda w: change(read(w), answer="x", answered_by=w.operator), "no time"),
]
