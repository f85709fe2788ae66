"""The table's part about deployed code."""

from django.db.models.functions import Now

from kvops.models import DeployedCode, DeployedLook
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import again
from tests.constraints.rows import RowAttempt


def code(w: BackupsWorld, **values: object) -> DeployedCode:
    """A version of a Worker that is deployed."""
    made = {"environment": w.environment, "kind": "worker", "name": "api", "version": "v1", "seen_at": Now()}
    return DeployedCode.objects.create(**{**made, **values})


DEPLOYED = [
    RowAttempt("deployed_once", lambda w: again(code(w))),
    RowAttempt(
        "kvops_deployedlook_environment_id_key",
        lambda w: again(DeployedLook.objects.create(environment=w.environment, at=Now())),
    ),
]
