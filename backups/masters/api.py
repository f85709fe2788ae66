"""The team's own API of master data: one GET of one address, to a file. No Django.

https only, hosts from an allow-list, no redirects, no proxies, timeouts, a size limit. Nothing is added to the
configured address.
"""

import time
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from kvops.cloudflare import is_loopback
from kvops.refusals import Refused, Sentence as _

MAX_BYTES = 256 * 1024 * 1024
TIMEOUT = 30.0
"""Seconds without a byte."""
WHOLE = 150.0
"""Seconds for the whole answer: shorter than the longest step of a run."""


class SourceRefused(Refused):
    """The address may not be asked, or its answer is unusable; the message is one sentence with the next step."""


def insist_allowed(url: str, *, hosts: Collection[str]) -> None:
    """Raise SourceRefused unless the address is https on one of the hosts; plain http is allowed for loopback only."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise SourceRefused(_("The address of the API cannot be read; it looks like https://host/path.")) from error
    if host not in hosts or parts.username is not None or parts.password is not None:
        raise SourceRefused(
            _("%(host)s is not an allowed host; add it to KVOPS_MASTERS_API_HOSTS.", host=host or _("It"))
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise SourceRefused(_("The API must be asked by https."))


def download(url: str, path: Path, *, hosts: Collection[str], token: str = "") -> None:
    """Write the answer to the file. Raises SourceRefused, also if there is no answer; its text never has the token."""
    insist_allowed(url, hosts=hosts)
    headers = {"Accept": "application/json", "User-Agent": "kvops"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    until = time.monotonic() + WHOLE
    try:
        with (
            httpx.Client(
                timeout=httpx.Timeout(TIMEOUT, connect=10.0), trust_env=False, follow_redirects=False
            ) as client,
            client.stream("GET", url, headers=headers) as answer,
            path.open("wb") as file,
        ):
            _insist_json(answer)
            size = 0
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > MAX_BYTES:
                    raise SourceRefused(
                        _("The API answered with more than %(size)s MiB: export from D1.", size=MAX_BYTES // 2**20)
                    )
                if time.monotonic() > until:
                    raise SourceRefused(
                        _(
                            "The API was not done answering after %(seconds)s seconds: export from D1.",
                            seconds=f"{WHOLE:.0f}",
                        )
                    )
                file.write(chunk)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Not chained: the cause holds the request, which holds the token.
        raise SourceRefused(_("No answer from the API (%(kind)s). Try again.", kind=type(error).__name__)) from None


def _insist_json(answer: httpx.Response) -> None:
    if answer.is_redirect:
        raise SourceRefused(_("The API answered with a redirect, which is not followed: name the address it leads to."))
    if answer.status_code != httpx.codes.OK:
        raise SourceRefused(_("The API answered with status %(status)s instead of 200.", status=answer.status_code))
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise SourceRefused(
            _("The API answered with %(kind)s instead of application/json.", kind=kind or _("no content type"))
        )
