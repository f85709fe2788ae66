"""The operation of looks at the deployed code and searches of it."""

from django.utils.translation import gettext_lazy as _

from kvops.models import Run
from kvops.operations import looks
from kvops.operations.parts import FeatureOperation, SubjectKind
from kvops.references import look, scripts

OPERATION = FeatureOperation(
    subjects={"search": SubjectKind(_("Search for code references"), "reference-search", "kvops.ReferenceSearch")},
    runs={Run.Kind.LOOK: look.work, Run.Kind.SEARCH: scripts.work},
    states={
        "hit_certain": looks.Look(_("Certain"), "red", "target"),
        "hit_possible": looks.Look(_("Possible"), *looks.CARE),
        "hit_unknown": looks.Look(_("Cannot be told"), "orange", "circle-question-mark"),
        "access_read": looks.Look(_("Reads"), "azure", "book-open"),
        "access_write": looks.Look(_("Writes"), "red", "pencil"),
        "access_list": looks.Look(_("Lists"), "azure", "list"),
        "access_delete": looks.Look(_("Deletes"), "red", "trash-2"),
        "access_unknown": looks.Look(_("Access cannot be told"), "orange", "circle-question-mark"),
        "code_same": looks.Look(_("Searched code runs"), *looks.PROVEN),
        "code_other": looks.Look(_("Other code runs"), *looks.BAD),
        "code_not_known": looks.Look(_("Not known"), "orange", "circle-question-mark"),
    },
)
