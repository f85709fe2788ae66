"""Files of this machine: secrets and settings that others may read, and the dump of Postgres."""

import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from kvops import env
from kvops.doctor.findings import Diagnosis, Examined, ok, wrong
from kvops.models import Environment
from kvops.wording import say

SETTINGS_FILES = "KVOPS_SETTINGS_FILES"
"""The variable in which `deploy/with-env` names the files of settings, with a colon between them."""
OVERDUE = 26 * 3600.0
"""Seconds. A dump is made each day, and takes some time."""
DUMP = b"PGDMP"
"""The first bytes of `pg_dump --format=custom`."""


def closed(examined: Examined) -> Iterator[Diagnosis]:
    """Check that nobody but this user may read the secrets: files, references to files, and files of settings."""
    about = _("Secrets")
    found = list(_open(of_process()))
    yield from found
    # The environments are read last: without a database the files above are known all the same.
    more = list(_open(of_environments(examined.environments) - of_process()))
    yield from more
    if not found and not more:
        yield ok(about)


def of_process() -> set[Path]:
    """The files that this process takes secrets from, and the files of settings beside them."""
    named = [value for value in os.environ.values() if value.startswith("file:")]
    given = {*map(Path, filter(None, os.environ.get(SETTINGS_FILES, "").split(":")))}
    files = {*env.FILES, *(Path(one.removeprefix("file:")) for one in named), *given}
    folders = {file.parent for file in files}
    return files | {beside for folder in folders for beside in folder.glob("*.env")}


def of_environments(environments: Iterable[Environment]) -> set[Path]:
    """The files of the tokens, keys and webhooks of environments."""
    names = ("read_token", "write_token", "slack", "r2_access_key_id", "r2_secret_access_key")
    references = [getattr(one, name) for one in environments for name in names]
    return {Path(one.removeprefix("file:")) for one in references if one.startswith("file:")}


def _open(files: Iterable[Path]) -> Iterator[Diagnosis]:
    for file in sorted(files):
        try:
            found = file.stat()
        except OSError:
            continue  # another process has it, or its own check says that it is missing
        group = found.st_mode & stat.S_IRGRP and found.st_gid != os.getegid()
        if group or found.st_mode & stat.S_IROTH:
            sentence, mode = _("Others may read %(file)s (%(mode)s). Run: %(command)s"), stat.S_IMODE(found.st_mode)
            yield wrong(_("Secrets"), say(sentence, file=file, mode=f"{mode:o}", command=f"chmod 600 {file}"))


def dump(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that there is a dump of Postgres of the last day."""
    about, folder = _("Dump of the database"), settings.DUMPS
    if not folder:
        sentence = _(
            "KVOPS_DUMPS names no folder, so no dump is known. Without one a lost disk takes approvals and the audit "
            "log with it. Dump the database each day (docs/operate.md), and name the folder."
        )
        yield wrong(about, sentence)
        return
    newest = max(_dumps(Path(folder)), default=None)
    if newest is None:
        sentence = _("%(folder)s has no dump of pg_dump --format=custom. Make one each day (docs/operate.md).")
        yield wrong(about, say(sentence, folder=folder))
    elif time.time() - newest > OVERDUE:
        sentence = _("The newest dump in %(folder)s is older than 26 hours. Make one each day (docs/operate.md).")
        yield wrong(about, say(sentence, folder=folder))
    else:
        yield ok(about, str(folder))


def _dumps(folder: Path) -> Iterator[float]:
    """The times of the dumps in a folder that this process may read."""
    for file in folder.glob("*"):
        try:
            with file.open("rb") as opened:
                if opened.read(len(DUMP)) == DUMP:
                    yield file.stat().st_mtime
        except OSError:
            continue
