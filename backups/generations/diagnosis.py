"""The doctor's findings about the secrets of backups.

One recipient's identity is kept offline: it must not be on this machine, where a thief of the other finds it, too.
"""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from pyrage import IdentityError, x25519

from backups.generations import encryption
from backups.models import Generation
from kvops.doctor import files
from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.runs.outcomes import RunError
from kvops.wording import say

SECRET = "AGE-SECRET-KEY-"  # noqa: S105  (how each of them begins)
LARGEST = 64 * 1024
"""Bytes. Files of age-keygen have a few lines."""


def _not_here(about: Promise, examined: Examined) -> Diagnosis:
    """The finding about a secret of the worker that this process lacks."""
    if examined.web:
        return ok(about, _("Not in the web server, as it should be."))
    return unknown(about, _("It is not in this process. Run manage.py doctor with the worker's settings too."))


def recipients_and_identity(examined: Examined) -> Iterator[Diagnosis]:
    """Check that encrypted backups can be made, and opened by the identity of this process."""
    about = _("Age recipients")
    if not encryption.possible():
        yield wrong(about, say(_("No settings value is backed up. %(how)s"), how=encryption.HOW))
        return
    yield ok(about, str(len(settings.AGE_RECIPIENTS)))
    about = _("Age identity")
    if not settings.AGE_IDENTITY:
        yield _not_here(about, examined)
        return
    try:
        mine = [one for one in encryption.identities() if str(one.to_public()) in settings.AGE_RECIPIENTS]
    except RunError as error:
        yield wrong(about, error)
        return
    if mine:
        yield ok(about)
    else:
        sentence = _(
            "KVOPS_AGE_IDENTITY opens nothing that is encrypted to KVOPS_AGE_RECIPIENTS. Name the file of one of them: "
            "age-keygen -y FILE prints its recipient."
        )
        yield wrong(about, sentence)


def digest_key(examined: Examined) -> Iterator[Diagnosis]:
    """Check that the key of digests is long enough, and that the keys of all encrypted backups are there."""
    about = _("Digest key")
    if not settings.DIGEST_KEY:
        yield _not_here(about, examined)
        return
    try:
        encryption.newest_digest_key()
        used = Generation.objects.exclude(digest_key="").order_by().values_list("digest_key", flat=True).distinct()
        lost = [key for key in used if encryption.known_digest_key(key) is None]
    except RunError as error:
        yield wrong(about, error)
        return
    if lost:
        sentence = _("Backups use the key %(key)s, which KVOPS_DIGEST_KEY does not name. Add it below the newer ones.")
        yield wrong(about, say(sentence, key=lost[0]))
    else:
        yield ok(about)


def offline_identity(examined: Examined) -> Iterator[Diagnosis]:
    """Check that one recipient's identity is neither the worker's nor in a folder where this process keeps files."""
    recipients, about = set(settings.AGE_RECIPIENTS), _("Offline identity")
    if not recipients:
        return  # the check of the recipients says it
    mine = _of_this_process() & recipients
    if mine == recipients:
        sentence = _("KVOPS_AGE_IDENTITY opens for every recipient. Keep the identity of one of them offline only.")
        yield wrong(about, sentence)
        return
    here = {recipient: file for file in _looked_at(examined) for recipient in _recipients_of(file) & recipients - mine}
    # Without the worker's identity any of them may be it, so only all of them are one too many.
    if here and (mine or here.keys() == recipients):
        file = next(iter(here.values()))
        sentence = _("%(file)s opens every backup and is on this machine. Move it to a safe place, and delete it here.")
        if not mine:
            sentence = _(
                "All identities of the recipients are on this machine, such as %(file)s. Keep one of them offline."
            )
            file = list(here.values())[-1]
        yield wrong(about, say(sentence, file=file))
    else:
        yield ok(about)


def _of_this_process() -> set[str]:
    try:
        return {str(one.to_public()) for one in encryption.identities()} if settings.AGE_IDENTITY else set()
    except RunError:
        return set()  # the check of the identity says it


def _looked_at(examined: Examined) -> Iterator[Path]:
    known = files.of_process() | files.of_environments(examined.environments)
    for folder in sorted({file.parent for file in known} | {Path.cwd(), Path.home()}):
        yield from sorted(folder.glob("*"))


def _recipients_of(file: Path) -> set[str]:
    """The recipients of the identities in a file, if it is one that this process may read."""
    try:
        text = file.read_text("utf-8") if file.is_file() and file.stat().st_size <= LARGEST else ""
        lines = [line for line in text.split() if line.startswith(SECRET)]
        return {str(x25519.Identity.from_str(line).to_public()) for line in lines}
    except (OSError, UnicodeDecodeError, IdentityError):
        return set()
