"""The two clients of a run that changes KV, and the notice of an answer of Cloudflare that contradicts itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext_lazy as _, gettext_noop

from backups.execution.prepaid import reserve
from backups.models import CleanupStage, Restore
from kvops.cloudflare import ApiError, Cloudflare
from kvops.cloudflare.writes import KVWriter
from kvops.connections import clients, credentials, skew
from kvops.connections.budget import Prepaid, SharedBudget
from kvops.connections.quota import QuotaMeter
from kvops.models import Environment, Namespace, NotificationEvent, Scratch, Skew
from kvops.notifications import outbox
from kvops.refusals import Sentence
from kvops.runs.outcomes import RunError
from kvops.wording import say, translated


@dataclass(frozen=True)
class Clients:
    """A reader and a writer on one reserved request budget."""

    reader: Cloudflare
    probe: Cloudflare  # reads with the write token
    writer: KVWriter
    budget: Prepaid
    meter: QuotaMeter

    def insist_visible(self, namespace: Namespace | Scratch) -> None:
        """Check that both tokens see the namespace under its title, so that no token of another account writes.

        Cloudflare's clock, which comes with the answer, must be close to the database's clock. Raises RunError,
        RateLimited and CloudflareError.
        """
        reserve(self.budget, 2)
        for client, unseen in (
            (self.reader, _("The read token does not see %(namespace)s. %(error)s")),
            (self.probe, _("The write token does not see %(namespace)s. %(error)s")),
        ):
            try:
                title = client.namespace(namespace.namespace_id).title
            except ApiError as error:
                if error.status not in {401, 403, 404}:
                    raise
                raise RunError("wrong_token", say(unseen, namespace=namespace, error=error)) from error
            if title != namespace.title:
                sentence = _("The namespace is called %(title)s now, not %(approved)s as approved.")
                raise RunError("wrong_target", say(sentence, title=repr(title), approved=repr(namespace.title)))
        if why := skew.measure(namespace.environment, Skew.Service.CLOUDFLARE, self.reader.time()):
            raise RunError(skew.CODE, why)


@contextmanager
def open_clients(environment: Environment) -> Iterator[Clients]:
    """A reader and a writer on one request budget; of a run the write token is resolved here alone.

    Raises RunError if a token is missing or both are the same, and RateLimited.
    """
    try:
        read_token = credentials.resolve(environment.read_token)
        write_token = credentials.resolve(environment.write_token)
    except credentials.UnresolvedReference as missing:
        raise RunError("no_token", missing) from missing
    if write_token == read_token:
        raise RunError("wrong_token", gettext_noop("The read and the write token are the same; they must differ."))
    budget, meter = Prepaid(SharedBudget.of(environment)), QuotaMeter(environment)
    reading = clients.connection(environment, budget, meter)
    writing = clients.connection(environment, budget, meter, reference=environment.write_token)
    with (
        Cloudflare(token=read_token, **reading) as reader,
        Cloudflare(token=write_token, **writing) as probe,
        KVWriter(token=write_token, **writing) as writer,
    ):
        try:
            yield Clients(reader, probe, writer, budget, meter)
        finally:
            budget.settle()


def contradicted(work: CleanupStage | Restore, problem: Sentence) -> None:
    """Notify people, once per deletion or restore, that Cloudflare's answer to a change of KV contradicts itself."""
    subject, page, pk = f"restore:{work.pk}", "backups:restore", work.pk
    if isinstance(work, Restore) and work.is_bulk:
        subject, page = f"bulkchange:{work.pk}", "backups:bulk_change"
    if isinstance(work, CleanupStage):
        subject, page, pk = f"stage:{work.pk}", "backups:stage", work.pk
    outbox.post(
        NotificationEvent.ANSWER_CONTRADICTED,
        subject=subject,
        environment=work.environment,
        title=say(_("Cloudflare's answer contradicts itself: %(what)s"), what=work),
        lines=[
            translated(problem),
            say(_("The answer is not trusted: the keys are read to find out the result. Look at the result.")),
        ],
        link=reverse(page, args=[pk]),
    )
