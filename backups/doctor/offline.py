"""The age identity that is kept offline: it must not be on this machine, where a thief of the other finds it, too."""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from pyrage import IdentityError, x25519

from backups.generations import encryption
from kvops.doctor import files
from kvops.doctor.findings import Diagnosis, Examined, ok, wrong
from kvops.runs.outcomes import RunError
from kvops.wording import say

SECRET = "AGE-SECRET-KEY-"  # noqa: S105  (how each of them begins)
LARGEST = 64 * 1024
"""Bytes. Files of age-keygen have a few lines."""


def identity(examined: Examined) -> Iterator[Diagnosis]:
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
