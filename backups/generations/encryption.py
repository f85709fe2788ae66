"""Which backups are encrypted, for which recipients, and the secrets that open them again.

A backup that holds one key of settings, one unclassified key, or one of a family with `encrypt = true`, is encrypted
as a whole. The run decides it as soon as it knows all names, before it reads a value. Each data object is an age file
(`.json.age`, X25519, by pyrage) for all `KVOPS_AGE_RECIPIENTS`, at least two. Without recipients such keys are
refused, and the refusal names the setting.

Digests in the bucket, in the manifest and in Postgres are then HMACs with `KVOPS_DIGEST_KEY`. Row and manifest name
the recipients and the id of that key. The database refuses a finished backup of settings or unclassified keys without
them.

Verification compares entries with KV's answer, so the worker decrypts its own backups. `KVOPS_AGE_IDENTITY` and
`KVOPS_DIGEST_KEY` are references, resolved in a run or a command and nowhere else. `kvops.wsgi` refuses to start with
either, so no page can show a value of such a backup. If a process cannot open a backup, it names the missing identity
or key, and the backup's status stays as it was. A part is decrypted in memory, 64 MiB at most, and used only after
all of it was found unchanged.

Both references may hold several secrets, one a line, the newest first. New backups use the newest key; older backups
stay readable with the others. The first backup of the same keys after a rotation is digested with the older key too, so
that it can be compared with the backup before. `RESTORE.md` describes the same in commands of `age` and wrangler.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from pyrage import IdentityError, x25519

from backups import archive
from backups.models import Generation
from kvops.connections import credentials
from kvops.models import Category, Family
from kvops.runs.outcomes import RunError
from kvops.wording import say

LEAST = 32
"""Characters; the least length of a key of digests, because a short key is found by trying."""

CODE = "encryption"

type Opener = Callable[[Iterable[bytes]], Iterator[bytes]]

HOW = _(
    "Set KVOPS_AGE_RECIPIENTS for the web server and the worker to at least two age recipients, one of them of an"
    " identity that is kept offline."
)
_NO_DIGEST_KEY = _(
    "KVOPS_DIGEST_KEY is not set in this process: without it no encrypted backup can be made or compared. Set it for "
    "the worker, and try again."
)
_NO_IDENTITY = _(
    "KVOPS_AGE_IDENTITY is not set in this process: without it an encrypted backup cannot be opened. Set it for the "
    "worker, and try again."
)


def possible() -> bool:
    """Whether recipients for encryption are set."""
    return bool(settings.AGE_RECIPIENTS)


def needed(family: Family | None) -> bool:
    """Whether keys of the family, or unclassified keys for None, are backed up encrypted only."""
    return family is None or family.encrypt or Category(family.category).sensitive


def seal(needs: bool) -> dict[str, object]:
    """The fields of a backup in writing that describe its encryption. Raises RunError if a setting is missing."""
    if not needs:
        return {"recipients": [], "digest_key": ""}
    if not possible():
        raise RunError(CODE, HOW)
    return {"recipients": list(settings.AGE_RECIPIENTS), "digest_key": archive.key_id(_digest_keys()[0])}


def older_digest_key(before: Generation | None, sealed: str) -> str:
    """The id of the key of the backup before, if it is another than the new one's and this process still has it."""
    if before is None or not sealed or before.digest_key in {"", sealed}:
        return ""
    known = {archive.key_id(key) for key in _digest_keys()}
    return before.digest_key if before.digest_key in known else ""


def newest_digest_key() -> bytes:
    """The key of new digests. Raises RunError if this process lacks it."""
    return _digest_keys()[0]


def known_digest_key(key_id: str) -> bytes | None:
    """The key with this id; None if this process lacks it."""
    return next((key for key in _digest_keys() if archive.key_id(key) == key_id), None)


def digest_key_of(key_id: str) -> bytes:
    """The key with this id, such as that of a change. Raises RunError if this process lacks it."""
    found = known_digest_key(key_id)
    if found is None:
        raise RunError(
            CODE, say(_("KVOPS_DIGEST_KEY does not name the key %(key)s. Add it and try again."), key=key_id)
        )
    return found


def digest_key(generation: Generation | None) -> bytes | None:
    """The key of a backup's digests; None if it is not encrypted. Raises RunError if this process lacks the key."""
    if generation is None or not generation.encrypted:
        return None
    for key in _digest_keys():
        if archive.key_id(key) == generation.digest_key:
            return key
    raise RunError(
        CODE,
        say(
            _(
                "The digests of backup %(backup)s were made with the key %(key)s, which is not among those "
                "KVOPS_DIGEST_KEY names. Add that key below the newer ones, each on a line, and try again."
            ),
            backup=generation.pk,
            key=generation.digest_key,
        ),
    )


def opener(generation: Generation) -> Opener:
    """The function that turns the chunks of a data object into chunks of its text.

    Raises RunError if no identity opens the backup. That proves nothing about the backup, so its status stays.
    """
    if not generation.encrypted:
        return iter
    mine = [one for one in identities() if str(one.to_public()) in generation.recipients]
    if not mine:
        raise RunError(
            CODE,
            say(
                _(
                    "Backup %(backup)s is encrypted to %(recipients)s; KVOPS_AGE_IDENTITY names no identity of these. "
                    "Add the right one, each on a line, and try again."
                ),
                backup=generation.pk,
                recipients=", ".join(generation.recipients),
            ),
        )
    return partial(archive.decrypt, identities=mine)


def _lines(setting: str, reference: str, unset: str | Promise) -> list[str]:
    if not reference:
        raise RunError(CODE, unset)
    try:
        secret = credentials.resolve(reference)
    except credentials.UnresolvedReference as missing:
        raise RunError(CODE, say("%(setting)s: %(missing)s", setting=setting, missing=missing)) from missing
    return [line.strip() for line in secret.splitlines() if line.strip() and not line.startswith("#")]


def _digest_keys() -> list[bytes]:
    lines = _lines("KVOPS_DIGEST_KEY", settings.DIGEST_KEY, _NO_DIGEST_KEY)
    if not lines or min(map(len, lines)) < LEAST:
        raise RunError(CODE, say(_("KVOPS_DIGEST_KEY takes at least %(least)s random characters."), least=LEAST))
    return [line.encode() for line in lines]


def identities() -> list[x25519.Identity]:
    """The identities that open backups. Raises RunError if this process lacks them."""
    lines = _lines("KVOPS_AGE_IDENTITY", settings.AGE_IDENTITY, _NO_IDENTITY)
    try:
        return [x25519.Identity.from_str(line) for line in lines]
    except IdentityError:
        # The error might quote the secret.
        raise RunError(CODE, _("KVOPS_AGE_IDENTITY does not name a file of age-keygen.")) from None
