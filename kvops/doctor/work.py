"""The processes, the queue, the clock of the database, the read-only mode, and the people."""

from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _, pgettext_lazy

from kvops import clock, queue, rollback
from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.models import Notification, PolicyVersion, Role, RoleGrant
from kvops.supervision import heartbeats
from kvops.wording import say

_CURES = {
    "worker": (pgettext_lazy("process", "Worker"), _("Start manage.py worker.")),
    "sweep": (_("Sweep"), _("Start manage.py sweep.")),
    "canary": (
        _("Canary"),
        _("Restart manage.py worker, and read its log: its cluster executes nothing."),
    ),
}


def processes(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that worker, sweep and cluster were seen, and that the queue and the clock are in order."""
    found, now = heartbeats.seen(), clock.now()
    for name, (about, cure) in _CURES.items():
        seen = [one for one in found if one.process == name]
        late = [one for one in seen if one.late]
        for one in late:
            sentence = _("It was last seen %(seconds)s s ago. %(cure)s")
            if one.host:
                sentence = _("On %(host)s it was last seen %(seconds)s s ago. %(cure)s")
            seconds = round((now - one.at).total_seconds())
            yield wrong(about, say(sentence, host=one.host, seconds=seconds, cure=cure))
        if not seen:
            yield wrong(about, say(_("It was never seen. %(cure)s"), cure=cure))
        elif not late:
            yield ok(about)
    waiting = queue.length()
    if waiting >= queue.FULL:
        sentence = _("%(count)s tasks wait. Start manage.py worker, or more of them.")
        yield wrong(_("Queue"), say(sentence, count=waiting))
    else:
        yield ok(_("Queue"), say(_("Waiting tasks: %(count)s"), count=waiting))
    if clock.went_back():
        sentence = _("The database's clock is behind the newest entry of the audit log. Set the clock right.")
        yield wrong(_("Database clock"), sentence)
    if why := rollback.why_read_only():
        yield wrong(_("Read-only mode"), why)


def people(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that somebody can ask and somebody else can approve, that a policy is in force, and that mail arrives."""
    holding: dict[str, set[int]] = {Role.OPERATOR: set(), Role.REVIEWER: set()}
    grants = RoleGrant.objects.filter(role__in=holding, revoked_at=None, person__logins__is_active=True)
    for role, person in grants.values_list("role", "person"):
        holding[role].add(person)
    if not holding[Role.OPERATOR] or not holding[Role.REVIEWER] or len(set().union(*holding.values())) < 2:
        sentence = _(
            "A deletion takes an operator and another person who is a reviewer. Run manage.py setup_people --operator "
            "ADDRESS --reviewer ADDRESS."
        )
        yield wrong(_("People"), sentence)
    else:
        yield ok(_("People"))
    if PolicyVersion.objects.exists():
        yield ok(_("Policy"))
    else:
        yield wrong(_("Policy"), _("No policy is in force. Run manage.py apply_policy."))
    if failed := Notification.objects.filter(state=Notification.State.FAILED).count():
        sentence = _(
            "Notifications that were not delivered: %(count)s. Read why on the page Notifications, and send them again."
        )
        yield wrong(_("Notifications"), say(sentence, count=failed))
    elif Notification.objects.filter(state=Notification.State.DELIVERED).exists():
        yield ok(_("Notifications"))
    else:
        yield unknown(_("Notifications"), _("No notification was sent yet."))
