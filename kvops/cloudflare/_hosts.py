"""The hosts that may be called, and those that may be called by plain http."""

import ipaddress
from collections.abc import Collection

import httpx

from kvops.cloudflare._errors import ConfigurationError
from kvops.refusals import Sentence as _


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def insist_allowed_host(hosts: Collection[str], url: httpx.URL) -> None:
    """Raise ConfigurationError unless the address is https on one of the hosts; plain http is for this machine."""
    if url.host not in hosts or url.userinfo:
        sentence = _("%(host)s is not an allowed API host; add it to KVOPS_ALLOWED_API_HOSTS.", host=repr(url.host))
        raise ConfigurationError(sentence)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise ConfigurationError(_("%(host)s must be called by https.", host=repr(url.host)))
