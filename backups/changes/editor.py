"""The editor of a change: the current entry for the form, and what a person typed as the parts to set.

A browser sends line breaks of a text area as CRLF. They are written as the old value has them, or as LF. An old value
with mixed ones cannot be edited here, because a browser would change it.
"""

from datetime import datetime

from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from backups.changes.moves import ChangeRefused, insist_operator
from backups.changes.propose import LONGEST, Wish, insist_changeable, live_entry
from kvops.cloudflare import KvEntry
from kvops.inventory import reveal as key_reveal
from kvops.models import Namespace, Person


def load(namespace: Namespace, name: str, *, reason: str, by: Person) -> KvEntry:
    """The current entry for the editor, recorded as a reveal. Raises ChangeRefused, RevealRefused and CloudflareError.

    The caller has just asked for the person's password.
    """
    insist_operator(by)
    insist_changeable(namespace, name, new=False)
    key_reveal.insist_reason(reason)
    entry = live_entry(namespace, name)
    if entry is None:
        raise ChangeRefused(_("The key does not exist any more."))
    text_of(entry)
    key_reveal.record(namespace, name, reason=reason, by=by, approval=None)
    return entry


def text_of(entry: KvEntry) -> str:
    """The value as a text area holds it. Raises ChangeRefused if that would change it."""
    if len(entry.data) > LONGEST:
        raise ChangeRefused(
            _("The value is larger than 64 KiB. Change it with wrangler, and state that in the runbook.")
        )
    try:
        text = entry.data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ChangeRefused(_("The value is binary and cannot be edited as text. Give a whole new value."))
    bare = text.replace("\r\n", "")
    if "\r" in bare or ("\r\n" in text and "\n" in bare):
        raise ChangeRefused(_("The value mixes line breaks, which a browser changes. Give a whole new value."))
    return text.replace("\r\n", "\n")


def wish_of(typed: dict[str, object], old: KvEntry | None) -> Wish:
    """The parts to set, from the cleaned fields of the form."""
    value = None if typed["keep_value"] else _bytes(str(typed["value"]), old)
    metadata, expiration = typed["metadata"], typed["expiration"]
    return Wish(
        value,
        None if typed["keep_metadata"] and old else (str(metadata) if metadata is not None else None,),
        None
        if typed["keep_expiration"] and old
        else (int(expiration.timestamp()) if isinstance(expiration, datetime) else None,),
    )


def _bytes(text: str, old: KvEntry | None) -> bytes:
    text = text.replace("\r\n", "\n")
    if old is not None and b"\r\n" in old.data:
        text = text.replace("\n", "\r\n")
    return text.encode()


def mark(entry: KvEntry) -> str:
    """A keyed mark of an entry. The form carries it, so that a change is made from the entry that was loaded."""
    parts = [entry.name.encode(), entry.data, repr((entry.metadata, entry.expiration)).encode()]
    text = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return salted_hmac("backups.changes.editor", text, algorithm="sha256").hexdigest()


def insist_loaded(typed: str, entry: KvEntry | None) -> None:
    """Raise ChangeRefused if the entry differs from the one that the form was loaded from; an empty mark is of none."""
    if typed and (entry is None or mark(entry) != typed):
        raise ChangeRefused(_("The key changed after you loaded it. Load it again and repeat your change."))
