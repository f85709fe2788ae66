"""An encrypted backup, kept in 1Password too: one Document with the object, and the recovery steps in its notes."""

from hashlib import sha256

from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.bucket import access as bucket_access
from backups.bucket.store import StoreError
from backups.exports import onepassword_store
from backups.exports.onepassword_store import DocumentStore
from backups.generations import recovery
from backups.models import Generation
from kvops.refusals import Sentence
from kvops.wording import say


class NotKept(Exception):
    """The backup is not kept in 1Password; the message is one sentence."""


def keep(generation: Generation, *, vault: str, actor: log.Actor) -> str:
    """Put the one object of a verified, encrypted backup into a vault, read it back, and return its title.

    An existing Document stays unchanged. Raises NotKept and StoreError.
    """
    if generation.status != Generation.Status.VERIFIED or not generation.encrypted:
        raise NotKept(_("Only a verified, encrypted backup is kept in 1Password."))
    keys = generation.object_keys()
    part = generation.parts.order_by("number").first()
    if len(keys) != 1 or part is None or part.size > onepassword_store.LIMIT:
        sentence = _("Only a backup of one object of at most %(size)s bytes is kept in 1Password.")
        raise NotKept(say(sentence, size=onepassword_store.LIMIT))
    with bucket_access.store_of(generation) as bucket:
        body = bucket.get(part.object_key)
    place = DocumentStore(vault, notes=_notes(generation))
    if sha256(body).hexdigest() != part.sha256:
        raise NotKept(_("The object in the bucket differs from the one that was written. Verify the backup again."))
    place.put(part.object_key, body)
    if place.get(part.object_key) != body:
        raise StoreError(
            Sentence(
                gettext_noop("%(key)s in the vault %(vault)s is not what was put there."),
                key=part.object_key,
                vault=vault,
            )
        )
    with log.transaction():
        log.record(
            Action.GENERATION_ELSEWHERE,
            actor=actor,
            **generation.audited,
            digest=part.sha256,
            details={"vault": vault, "title": part.object_key},
        )
    return part.object_key


def _notes(generation: Generation) -> str:
    return (
        "The attached file is the first object of the steps below, as it was put into the bucket: save it as"
        " part-00001.json.age and go on with “Decrypt them”.\n"
        "添付ファイルは、下の手順にある最初のオブジェクトです。part-00001.json.age として保存し、「復号する」から"
        f"続けてください。\n\n{recovery.recovery_steps(generation)}"
    )
