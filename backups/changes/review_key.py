"""The review key: its identity opens proposals in the web server, so that people see what changes.

`KVOPS_REVIEW_IDENTITY` is a reference to an age identity that only the web server has. It opens no backup. The worker
refuses to start with it, and needs only the recipient, which each proposal names.
"""

from collections.abc import Iterator
from contextlib import suppress

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from pyrage import IdentityError, x25519

from backups.generations import encryption
from kvops.connections import credentials
from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.refusals import Refused


class ReviewKeyMissing(Refused):
    """Proposals can be neither made nor opened in this process; the message gives the setting."""


class ReviewKeyUnread(ReviewKeyMissing):
    """The setting is empty or names no identity."""


class ReviewKeyOpensBackups(ReviewKeyMissing):
    """The identity is one of those that open backups."""


def identity() -> x25519.Identity:
    """The identity, which opens no backup. Raises ReviewKeyMissing."""
    if not settings.REVIEW_IDENTITY:
        raise ReviewKeyUnread(_("KVOPS_REVIEW_IDENTITY is not set for the web server, so no value can be proposed."))
    try:
        secret = credentials.resolve(settings.REVIEW_IDENTITY)
        lines = [line.strip() for line in secret.splitlines() if line.strip() and not line.startswith("#")]
        found = x25519.Identity.from_str(lines[0])
    except (credentials.UnresolvedReference, IdentityError, IndexError):
        # The error might quote the secret.
        raise ReviewKeyUnread(_("KVOPS_REVIEW_IDENTITY does not name a file of age-keygen.")) from None
    if str(found.to_public()) in settings.AGE_RECIPIENTS:
        raise ReviewKeyOpensBackups(
            _("The review key is also a recipient of backups. Give the web server an identity of its own.")
        )
    return found


def insist_apart() -> None:
    """Raise ReviewKeyOpensBackups if it is a recipient of backups. The pages tell of a key that cannot be read."""
    with suppress(ReviewKeyUnread):
        identity()


def recipients() -> list[str]:
    """The recipients of a proposal: those of backups, and the review key. Raises ReviewKeyMissing."""
    mine = str(identity().to_public())
    if not encryption.possible():
        raise ReviewKeyMissing(encryption.HOW)
    return [*settings.AGE_RECIPIENTS, mine]


def diagnosis(examined: Examined) -> Iterator[Diagnosis]:
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
            identity()
        except ReviewKeyMissing as missing:
            yield wrong(about, missing)
        else:
            yield ok(about)
