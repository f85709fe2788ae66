"""Recipients and identity of encrypted backups, the key of their digests, and the review identity."""

from collections.abc import Iterator

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from backups.changes import review_key
from backups.generations import encryption
from backups.models import Generation
from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.runs.outcomes import RunError
from kvops.wording import say

_WITH_THE_WORKER = _("It is not in this process. Run manage.py doctor with the worker's settings too.")


def recipients_and_identity(examined: Examined) -> Iterator[Diagnosis]:
    """Check that encrypted backups can be made, and opened by the identity of this process."""
    about = _("Age recipients")
    if not encryption.possible():
        yield wrong(about, say(_("No settings value is backed up. %(how)s"), how=encryption.HOW))
        return
    yield ok(about, str(len(settings.AGE_RECIPIENTS)))
    about = _("Age identity")
    if not settings.AGE_IDENTITY:
        yield (
            ok(about, _("Not in the web server, as it should be."))
            if examined.web
            else unknown(about, _WITH_THE_WORKER)
        )
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
        yield (
            ok(about, _("Not in the web server, as it should be."))
            if examined.web
            else unknown(about, _WITH_THE_WORKER)
        )
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


def review_identity(examined: Examined) -> Iterator[Diagnosis]:
    """Check the identity that opens proposals of changes, and that the worker does not have it."""
    about = _("Review identity")
    if settings.AGE_IDENTITY and settings.REVIEW_IDENTITY:
        sentence = _("KVOPS_REVIEW_IDENTITY is beside KVOPS_AGE_IDENTITY. Give the first to the web server only.")
        yield wrong(about, sentence)
    elif not settings.REVIEW_IDENTITY and not examined.web:
        sentence = _("It is not in this process. Run manage.py doctor --web with the web server's settings too.")
        yield unknown(about, sentence)
    else:
        try:
            review_key.identity()
        except review_key.ReviewKeyMissing as missing:
            yield wrong(about, missing)
        else:
            yield ok(about)
