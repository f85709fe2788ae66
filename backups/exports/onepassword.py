"""An encrypted backup, put into 1Password too: one Document with the object, and the recovery steps in its notes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from django.db import connection
from django.utils.translation import gettext_lazy as _, gettext_noop

from backups.bucket import access as bucket_access
from backups.bucket.store import StoreError
from backups.exports import onepassword_store
from backups.exports.onepassword_store import DocumentStore
from backups.generations import recovery
from backups.models import Generation, GenerationPart
from kvops.refusals import Refused, Sentence
from kvops.wording import say


class NotKept(Refused):
    """The backup is not kept in 1Password; the message is one sentence."""


@dataclass(frozen=True)
class KeptObject:
    """A Document that was put into a vault and read back."""

    title: str
    item: str
    sha256: str
    size: int


def insist_keepable(generation: Generation) -> GenerationPart:
    """The one part of a backup that may be kept. Raises NotKept for one that is not verified, encrypted and small."""
    if generation.status != Generation.Status.VERIFIED or not generation.encrypted:
        raise NotKept(_("Only a verified, encrypted backup is kept in 1Password."))
    keys = generation.object_keys()
    part = generation.parts.order_by("number").first()
    if len(keys) != 1 or part is None or part.size > onepassword_store.LIMIT:
        sentence = _("Only a backup of one object of at most %(size)s bytes is kept in 1Password.")
        raise NotKept(say(sentence, size=onepassword_store.LIMIT))
    return part


def put_document(generation: Generation, vault: str, *, between: Callable[[], None] = lambda: None) -> KeptObject:
    """Put the one object of a verified, encrypted backup into a vault, and read it back.

    An existing Document stays unchanged. `between` is called before each request to 1Password. Raises NotKept and
    StoreError.
    """
    part = insist_keepable(generation)
    with bucket_access.store_of(generation) as bucket:
        body = bucket.get(part.object_key)
    place = DocumentStore(vault, notes=_notes(generation), between=between)
    if sha256(body).hexdigest() != part.sha256:
        raise NotKept(_("The object in the bucket differs from the one that was written. Verify the backup again."))
    with _alone(generation):
        place.put(part.object_key, body)
    if place.get(part.object_key) != body:
        raise StoreError(
            Sentence(
                gettext_noop("%(key)s in the vault %(vault)s is not what was put there."),
                key=part.object_key,
                vault=vault,
            )
        )
    return KeptObject(part.object_key, place.item(part.object_key), part.sha256, len(body))


@contextmanager
def _alone(generation: Generation) -> Iterator[None]:
    """Let no other process put the backup meanwhile: 1Password would take two Documents with one title."""
    lock = ("kvops vault", generation.pk % 2**31)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s), %s)", lock)
        if cursor.fetchone() != (True,):
            raise NotKept(_("The backup is being put into 1Password now."))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtext(%s), %s)", lock)


def _notes(generation: Generation) -> str:
    return (
        "The attached file is the first object of the steps below, as it was put into the bucket: save it as"
        " part-00001.json.age and go on with “Decrypt them”.\n"
        "添付ファイルは、下の手順にある最初のオブジェクトです。part-00001.json.age として保存し、「復号する」から"
        f"続けてください。\n\n{recovery.recovery_steps(generation)}"
    )
