"""The moves of a restore, and the conditions of every move."""

from collections.abc import Mapping, Sequence

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups import archive
from backups.models import Restore
from kvops.models import Person, Role
from kvops.refusals import Refused
from kvops.wording import say

State = Restore.State


class RestoreRefused(Refused):
    """The step is not possible now; the message is one sentence that says why and what to do."""


def locked(restore: Restore) -> Restore:
    """The restore as it is now, held until the open transaction ends."""
    related = ("generation__environment", "generation__namespace", "environment", "namespace")
    return Restore.objects.select_for_update(of=("self",)).select_related(*related).get(pk=restore.pk)


def move(
    restore: Restore,
    expected: Sequence[Restore.State],
    to: Restore.State,
    action: Action,
    *,
    actor: log.Actor,
    digest: str = "",
    values: Mapping[str, object] | None = None,
    details: Mapping[str, JSON] | None = None,
) -> None:
    """One conditional UPDATE and one audit entry. Raises RestoreRefused when somebody moved the restore first."""
    changed = Restore.objects.filter(pk=restore.pk, state__in=expected).update(state=to, **(values or {}))
    if changed != 1:
        raise RestoreRefused(
            say(
                _("This is not possible any more: the restore is %(state)s."),
                state=label(Restore.objects.get(pk=restore.pk)),
            )
        )
    record_restore(action, restore, actor=actor, digest=digest, details=details)


def record_restore(
    action: Action,
    restore: Restore,
    *,
    actor: log.Actor,
    digest: str = "",
    details: Mapping[str, JSON] | None = None,
) -> None:
    """One audit entry about the restore, within the open transaction."""
    log.record(
        action,
        actor=actor,
        environment=restore.environment.slug,
        subject=f"restore:{restore.pk}",
        subject_label=str(restore)[:600],
        digest=digest or restore.names_sha256,
        details=details or {},
    )


def insist_operator(person: Person) -> None:
    """Raise RestoreRefused unless the person is an operator."""
    if not person.holds(Role.OPERATOR):
        raise RestoreRefused(_("Only an operator can do this."))


def insist_names(restore: Restore) -> None:
    """Raise RestoreRefused unless the frozen names are what their digest says."""
    names = restore.entries.order_by("index").values_list("name", flat=True)
    if archive.names_sha256(names.iterator(10_000)) != restore.names_sha256:
        raise RestoreRefused(_("The list of keys changed after it was fixed. Have the database checked."))


def label(restore: Restore) -> str | Promise:
    """The restore's state in words."""
    return State(restore.state).label
