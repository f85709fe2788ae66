"""The operation of looks at the deployed code and searches of it."""

from django.utils.translation import gettext_lazy as _

from kvops.models import Run
from kvops.operations.parts import FeatureOperation, SubjectKind
from kvops.references import look, scripts

OPERATION = FeatureOperation(
    subjects={"search": SubjectKind(_("Search for code references"), "reference-search", "kvops.ReferenceSearch")},
    runs={Run.Kind.LOOK: look.work, Run.Kind.SEARCH: scripts.work},
)
