"""The two clients of a run that changes KV."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.utils.translation import gettext_noop

from backups.current import reserve
from kvops import credentials, environments
from kvops.budget import Prepaid, SharedBudget
from kvops.cloudflare import Cloudflare
from kvops.cloudflare.writes import KVWriter
from kvops.leases import RunError
from kvops.models import Environment


@dataclass(frozen=True)
class Clients:
    """A reader and a writer on one reserved budget."""

    reader: Cloudflare
    writer: KVWriter
    budget: Prepaid


@contextmanager
def open_clients(environment: Environment) -> Iterator[Clients]:
    """A reader and a writer on one reserved budget; the write token is resolved here and nowhere else.

    Raises RunError when a token is not there, or both are the same, and RateLimited.
    """
    try:
        read_token = credentials.resolve(environment.read_token)
        write_token = credentials.resolve(environment.write_token)
    except credentials.UnresolvedReference as missing:
        raise RunError("no_token", str(missing)) from missing
    if write_token == read_token:
        raise RunError("wrong_token", gettext_noop("The read and the write token are the same; they must differ."))
    budget = Prepaid(SharedBudget(environment.account_id))
    with (
        Cloudflare(token=read_token, **environments.connection(environment, budget)) as reader,
        KVWriter(token=write_token, **environments.connection(environment, budget)) as writer,
    ):
        reserve(budget, 1)
        try:
            yield Clients(reader, writer, budget)
        finally:
            budget.settle()
