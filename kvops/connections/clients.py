"""The clients of an environment: account, token, request budget and daily quota brought together."""

from collections.abc import Collection
from typing import TypedDict

from django.conf import settings

from kvops import timing
from kvops.cloudflare import CallMeter, Cloudflare, ConfigurationError, OperationMeter, RequestBudget, Unmetered
from kvops.connections import credentials, quota
from kvops.connections.answers import Answers
from kvops.connections.budget import SharedBudget, Uncounted
from kvops.models import Environment
from kvops.refusals import Sentence as _


class Connection(TypedDict):
    """The arguments of a client, without its token."""

    account_id: str
    allowed_hosts: Collection[str]
    budget: RequestBudget
    meter: CallMeter
    base_url: str
    max_wait: float
    timeout: float


def connection(
    environment: Environment,
    budget: RequestBudget | None = None,
    meter: OperationMeter | None = None,
    *,
    reference: str = "",
) -> Connection:
    """The arguments for a client of an environment. Budget and meter are the account's, unless others are given.

    `reference` names the client's token, by default the environment's read token.
    """
    return {
        "account_id": environment.account_id,
        "allowed_hosts": settings.KVOPS_ALLOWED_API_HOSTS,
        "budget": budget or SharedBudget.of(environment),
        "meter": Answers(meter or quota.QuotaMeter(environment), environment, reference or environment.read_token),
        "base_url": environment.api_base_url,
        "max_wait": timing.LONGEST_WAIT,
        "timeout": timing.REQUEST_TIMEOUT,
    }


def reader(environment: Environment, budget: RequestBudget | None = None) -> Cloudflare:
    """The reading client of an environment, to be used with `with`, on its budget or another.

    Raises ConfigurationError.
    """
    return Cloudflare(token=_read_token(environment), **connection(environment, budget))


def onlooker(environment: Environment, token: str = "") -> Cloudflare:
    """A client that leaves no trace here, with the read token or another: no request, answer or refusal is noted.

    Raises ConfigurationError.
    """
    quiet = connection(environment, Uncounted(SharedBudget.of(environment)))
    quiet["meter"] = Unmetered()
    return Cloudflare(token=token or _read_token(environment), **quiet)


def _read_token(environment: Environment) -> str:
    try:
        return credentials.resolve(environment.read_token)
    except credentials.UnresolvedReference as error:
        raise ConfigurationError(
            _("The read token of %(environment)s is not there. %(error)s", environment=environment.slug, error=error)
        ) from error
