"""The operation of runs: each feature names its own kinds."""

from django.utils.translation import gettext_lazy as _

from kvops.models import NotificationEvent, Role, Run
from kvops.operations.parts import FeatureOperation, Notice, Searched, SearchGroup, SubjectKind

OPERATION = FeatureOperation(
    subjects={
        "run": SubjectKind(
            _("Run"),
            "run",
            "kvops.Run",
            named=["{}", "{}/late", "{}/check", "{}/dataset"],
            searched=Searched(SearchGroup.RUNS, ["label"], "label", "environment", kinds=Run.Kind),
        ),
    },
    notices={
        NotificationEvent.RUN_FINISHED: Notice(),
        NotificationEvent.RUN_FAILED: Notice(),
        NotificationEvent.RUN_WAITING: Notice(roles=(Role.OPERATOR,), channel=True),
    },
)
