"""What looks at the deployed code and searches of it say about themselves."""

from django.utils.translation import gettext_lazy as _

from kvops.models import Run
from kvops.operations.parts import Operation, Subject
from kvops.references import look, scripts

OPERATION = Operation(
    subjects={"search": Subject(_("Search for code references"), "reference-search", "kvops.ReferenceSearch")},
    runs={Run.Kind.LOOK: look.work, Run.Kind.SEARCH: scripts.work},
)
