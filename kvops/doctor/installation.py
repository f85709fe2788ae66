"""Settings that do not fit together, static files and translations."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.http.request import validate_host
from django.utils.translation import gettext_lazy as _, pgettext_lazy

from kvops.doctor.findings import Diagnosis, Examined, ok, wrong
from kvops.wording import say

MANIFEST = "staticfiles.json"

SETTINGS = pgettext_lazy("installation", "Settings")


def settings_fit(examined: Examined) -> Iterator[Diagnosis]:
    """Check that addresses, hosts and senders fit each other."""
    well = True
    for misfit in _misfits(examined):
        well = False
        yield misfit
    if well:
        yield ok(SETTINGS, settings.BASE_URL)


def _misfits(examined: Examined) -> Iterator[Diagnosis]:
    host = urlsplit(settings.BASE_URL).hostname or ""
    if "*" in settings.ALLOWED_HOSTS:
        yield wrong(SETTINGS, _("ALLOWED_HOSTS allows every host. Name the hosts of KVOps instead of *."))
    elif not validate_host(host, settings.ALLOWED_HOSTS):
        yield wrong(
            SETTINGS,
            say(
                _("KVOPS_BASE_URL has the host %(host)s. Add it to ALLOWED_HOSTS, or every page is refused."), host=host
            ),
        )
    if settings.HTTPS and not settings.ALLAUTH_TRUSTED_PROXY_COUNT:
        yield wrong(
            SETTINGS,
            _(
                "KVOPS_TRUSTED_PROXY_COUNT is 0, so behind a proxy every page redirects to itself. Set it to the "
                "number of proxies that set X-Forwarded-For and X-Forwarded-Proto."
            ),
        )
    sender = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    if sender == "localhost" and not (settings.SANDBOX or settings.TESTING):
        yield wrong(SETTINGS, _("KVOPS_MAIL_FROM is not set. Set it to an address that your mail server accepts."))
    for environment in examined.environments:
        for address in (environment.api_base_url, environment.r2_endpoint):
            needed = urlsplit(address).hostname
            if needed not in settings.KVOPS_ALLOWED_API_HOSTS:
                yield wrong(
                    SETTINGS,
                    say(
                        _("%(environment)s uses the host %(host)s. Add it to KVOPS_ALLOWED_API_HOSTS."),
                        environment=environment.slug,
                        host=needed,
                    ),
                )


def static_files(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that `collectstatic` has stored every static file."""
    about = _("Static files")
    try:
        stored = json.loads((Path(settings.STATIC_ROOT) / MANIFEST).read_text("utf-8"))["paths"]
    except (OSError, ValueError, KeyError):
        sentence = _("%(folder)s has no manifest, so pages answer 500. Run manage.py collectstatic --no-input.")
        yield wrong(about, say(sentence, folder=settings.STATIC_ROOT))
        return
    missing = [path for finder in get_finders() for path, _storage in finder.list([]) if path not in stored]
    if missing:
        sentence = _("%(file)s is not in %(folder)s. Run manage.py collectstatic --no-input after each upgrade.")
        yield wrong(about, say(sentence, file=missing[0], folder=settings.STATIC_ROOT))
    else:
        yield ok(about, str(settings.STATIC_ROOT))


def translations(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that the catalogue of each language is compiled, and not older than its text."""
    for folder in map(Path, settings.LOCALE_PATHS):
        for text in sorted(folder.glob("*/LC_MESSAGES/django.po")):
            about, compiled = say(_("Translation %(language)s"), language=text.parts[-3]), text.with_suffix(".mo")
            command = f"pybabel compile --input-file {text} --output-file {compiled}"
            if not compiled.exists():
                sentence = _("It is not compiled, so pages are in English only. Run: %(command)s")
                yield wrong(about, say(sentence, command=command))
            elif compiled.stat().st_mtime < text.stat().st_mtime:
                yield wrong(about, say(_("It is older than its text. Run: %(command)s"), command=command))
            else:
                yield ok(about)
