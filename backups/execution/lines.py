"""The lines of evidence about a backup, for each kind of request that relies on one."""

from django.utils.translation import gettext as _

from kvops.approvals.lines import Shown, keys_of, part, time_of
from kvops.templatetags.states import look_of


def word_of(state: object) -> str:
    """The word of a state that evidence has."""
    return str(look_of(str(state)).word)


def backup_in_words(shown: Shown) -> str:
    """The backup, its keys, its end and its state."""
    of = {
        "pk": part(shown, "generation.id"),
        "keys": keys_of(part(shown, "generation.keys")),
        "state": word_of(part(shown, "generation.status")),
        "time": time_of(part(shown, "generation.finished_at")),
    }
    return _("backup %(pk)s, %(keys)s, finished %(time)s: %(state)s") % of
