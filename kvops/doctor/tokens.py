"""The tokens of an environment: separated, seeing what is bound, and within the request budget."""

from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _

from kvops.cloudflare import AuthError, Cloudflare, CloudflareError, ConfigurationError, NotFound
from kvops.connections import clients, credentials, skew
from kvops.connections.budget import SharedBudget
from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.models import Environment, Namespace, Scratch, Skew
from kvops.wording import say


def separation(environment: Environment, examined: Examined) -> Iterator[Diagnosis]:
    """Check that the tokens of reading, writing and other environments differ, and that only the worker can write."""
    about = say(_("%(environment)s: separate tokens"), environment=environment.slug)
    read, write = _secret(environment.read_token), _secret(environment.write_token)
    others = {one.slug: _secret(one.read_token) for one in examined.environments if one != environment}
    same = [slug for slug, token in others.items() if token and token == read]
    if examined.web and write:
        sentence = _("The web server can read %(token)s. Give the write token to the worker only.")
        yield wrong(about, say(sentence, token=environment.write_token))
    elif read and read == write:
        yield wrong(about, _("The read and the write token are the same. Make two tokens in Cloudflare."))
    elif same:
        sentence = _("%(other)s has the same read token. Make a token for each environment.")
        yield wrong(about, say(sentence, other=same[0]))
    elif not examined.web and not write:
        sentence = _("%(token)s is not in this process. Run manage.py doctor with the worker's settings too.")
        yield unknown(about, say(sentence, token=environment.write_token))
    else:
        sentence = _(
            "Cloudflare does not tell a token's permissions. Compare them with docs/install.md: the read token must "
            "not be able to write."
        )
        yield ok(about)
        yield unknown(say(_("%(environment)s: scope of the tokens"), environment=environment.slug), sentence)


def budget(environment: Environment, _examined: Examined) -> Iterator[Diagnosis]:
    """Check that requests are left and that Cloudflare has not asked to wait."""
    about = say(_("%(environment)s: request budget"), environment=environment.slug)
    shared = SharedBudget.of(environment)
    left = shared.left()
    if left.blocked:
        sentence = _("Cloudflare asked to wait %(seconds)s s. Find out which other tools use this user's tokens.")
        yield wrong(about, say(sentence, seconds=round(left.blocked)))
    else:
        yield ok(about, say(_("%(left)s of %(all)s requests left"), left=left.calls, all=shared.calls))


def read_token(environment: Environment, _examined: Examined) -> Iterator[Diagnosis]:
    """Check with the read token that each namespace and database is there under its title, and compare the clocks."""
    about = say(_("%(environment)s: read token"), environment=environment.slug)
    try:
        with clients.onlooker(environment) as client:
            yield from _namespaces(environment, client)
            yield from _databases(environment, client)
            theirs = client.time()
    except CloudflareError as error:
        yield _refused(about, error, environment.read_token, _("Workers KV Storage Read and D1 Read"))
        return
    yield ok(about)
    why = skew.compare(environment, Skew.Service.CLOUDFLARE, theirs)
    clocks = say(_("%(environment)s: clock of Cloudflare"), environment=environment.slug)
    yield wrong(clocks, why) if why else ok(clocks)


def write_token(environment: Environment, examined: Examined) -> Iterator[Diagnosis]:
    """Check that the write token sees the same namespaces. It writes nothing."""
    token = _secret(environment.write_token)
    if examined.web or not token or token == _secret(environment.read_token):
        return  # `separation` says it
    about = say(_("%(environment)s: write token"), environment=environment.slug)
    try:
        with clients.onlooker(environment, token) as client:
            for namespace in _bound(environment):
                client.namespace(namespace.namespace_id)
    except CloudflareError as error:
        yield _refused(about, error, environment.write_token, _("Workers KV Storage Write"))
    else:
        yield ok(about)


def _namespaces(environment: Environment, client: Cloudflare) -> Iterator[Diagnosis]:
    for namespace in _bound(environment):
        title = client.namespace(namespace.namespace_id).title
        about = f"{environment.slug}/{namespace.binding}"
        if title == namespace.title:
            yield ok(about, title)
        else:
            sentence = _(
                "The namespace is called %(now)s now, and was %(then)s when it was bound. If it is the right one, run "
                "manage.py apply_environments again."
            )
            yield wrong(about, say(sentence, now=repr(title), then=repr(namespace.title)))


def _databases(environment: Environment, client: Cloudflare) -> Iterator[Diagnosis]:
    bound = list(environment.databases.all())
    visible = {info.id for info in client.databases()} if bound else set()
    for database in bound:
        about = f"{environment.slug}/{database.binding}"
        if database.database_id in visible:
            yield ok(about)
        else:
            sentence = _("%(token)s cannot see the database %(id)s. Correct the id, or give the token D1 Read.")
            yield wrong(about, say(sentence, token=environment.read_token, id=database.database_id))


def _bound(environment: Environment) -> list[Namespace | Scratch]:
    return [*environment.namespaces.all(), *Scratch.objects.filter(environment=environment)]


def _refused(about: str, error: CloudflareError, token: str, permissions: object) -> Diagnosis:
    match error:
        case AuthError(token_unknown=True):
            sentence = _(
                "This token is not known to Cloudflare (401): %(token)s. It is mistyped, expired, revoked or deleted. "
                "Make a new one with the permissions %(permissions)s, and store it there."
            )
            return wrong(about, say(sentence, token=token, permissions=permissions))
        case AuthError() | NotFound():
            sentence = _(
                "%(error)s Is %(token)s another account's token, or a wrong id? It needs the permissions "
                "%(permissions)s."
            )
            return wrong(about, say(sentence, error=error, token=token, permissions=permissions))
        case ConfigurationError():
            return wrong(about, error)
    return unknown(about, error)


def _secret(reference: str) -> str:
    """The secret, or an empty text if this process lacks it."""
    try:
        return credentials.resolve(reference)
    except credentials.UnresolvedReference:
        return ""
