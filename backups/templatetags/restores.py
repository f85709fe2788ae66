"""The parts of the pages of restores: `{% load restores %}`."""

from django import template
from django.template import Context
from django.utils.html import format_html
from django.utils.translation import gettext as _

from backups.models import CleanupStage, Restore, RestoreEntry
from backups.restores import offer as gone_keys, undo as stage_undo
from kvops.models import ApprovalRequest, Scan
from kvops.people.signin import person_of
from kvops.templatetags.ui import count, key_name
from kvops.wording import labelled

register = template.Library()
Found = RestoreEntry.Found


@register.simple_tag
def restored_names(restore: Restore) -> str:
    """The names of a restore in words: those under a prefix, a list of names, or the single name."""
    if only := getattr(restore, "only_name", None):  # set by `Restore.objects.naming()`
        return key_name(only)
    return _("listed names") if restore.listed else key_name(f"{restore.prefix}*")


@register.inclusion_tag("restores/_brought_back.html")
def brought_back(restore: Restore) -> dict[str, object]:
    """The stages that the restore would make incomplete, because they deleted keys that it writes."""
    return {"stages": stage_undo.brought_back(restore)}


@register.inclusion_tag("restores/_brought_back.html")
def brought_back_by(asked: ApprovalRequest) -> dict[str, object]:
    """The same, on the page of the restore's approval."""
    restore = Restore.objects.filter(approval=asked, stage=None).select_related("namespace").first()
    return {"stages": stage_undo.brought_back(restore) if restore else ()}


@register.simple_tag(takes_context=True)
def undo_offer(context: Context, stage: CleanupStage) -> stage_undo.Offer | None:
    """The undo of a stage's deletion, as far as the current person may use it."""
    return stage_undo.offer(stage, person_of(context["request"]))


@register.simple_tag
def restore_offer(scan: Scan) -> gone_keys.RestoreOffer | None:
    """The restore of the keys that a scan found gone without an explanation."""
    return gone_keys.offer_of(scan)


@register.simple_tag
def found_line(found: str, n: int, on_conflict: str) -> str:
    """The number of names with this result, and their treatment."""
    kind = Found(found)
    what = {
        Found.ABSENT: _("not in KV: to be written"),
        Found.EQUAL: _("in KV and equal: nothing to do"),
        Found.EXPIRED: _("past their expiration: not written, listed"),
        Found.SOON: _("less than a minute left: not written, listed for you to decide"),
    }
    different = {
        Restore.OnConflict.SKIP: _("left as they are"),
        Restore.OnConflict.STOP: _("nothing at all is written"),
        Restore.OnConflict.OVERWRITE: _("to be overwritten after a verified backup"),
    }
    text = what.get(kind) or labelled(kind.label, different[Restore.OnConflict(on_conflict)])
    if kind in {Found.SENSITIVE, Found.UNREADABLE} and on_conflict != Restore.OnConflict.STOP:
        text = labelled(kind.label, different[Restore.OnConflict.SKIP])
    return format_html("<strong>{}</strong> {}", count(n), text)
