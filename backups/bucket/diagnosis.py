"""The doctor's findings about the bucket of an environment. Nothing is stored.

It must be readable, writable and locked, and R2 must delete proposals and investigations by itself.
"""

from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _

from backups.bucket import access as bucket_access, protection as bucket_protection
from backups.bucket.store import CredentialsRefused, StoreError, StoreUnavailable
from backups.models import BucketProtection
from kvops import timing
from kvops.cloudflare import CloudflareError
from kvops.connections import clients, skew
from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.models import Environment, Skew
from kvops.wording import say


def objects(environment: Environment, _examined: Examined) -> Iterator[Diagnosis]:
    """List the backups, then ask for a put that R2 refuses only after it has looked at the permission."""
    about = say(_("%(environment)s: bucket"), environment=environment.slug)
    try:
        with bucket_access.unnoted_store(environment) as store:
            store.page(bucket_access.root(environment), limit=1)
            store.ask_to_put(f"{bucket_access.proposals_root(environment)}doctor.json")
            theirs = store.time()
    except StoreUnavailable as error:
        yield unknown(about, error)
        return
    except CredentialsRefused:
        sentence = _(
            "This token is not known to R2: %(token)s. It is mistyped or deleted. Make a new one with Object Read & "
            "Write on this bucket, and store both of its parts."
        )
        yield wrong(about, say(sentence, token=environment.r2_access_key_id))
        return
    except StoreError as error:
        sentence = _(
            "%(error)s Correct bucket, endpoint and credentials: the R2 token needs Object Read & Write on this bucket."
        )
        yield wrong(about, say(sentence, error=error))
        return
    yield ok(about, environment.r2_bucket)
    why = skew.compare(environment, Skew.Service.R2, theirs)
    clocks = say(_("%(environment)s: clock of R2"), environment=environment.slug)
    if why:
        yield wrong(clocks, why)
    elif theirs is None:
        sentence = _("The answers of R2 tell no time. Only the clock of Cloudflare's API is compared.")
        yield unknown(clocks, say(sentence))
    else:
        yield ok(clocks)


def rules(environment: Environment, _examined: Examined) -> Iterator[Diagnosis]:
    """Ask Cloudflare for the lock, the lifecycle rules and the public addresses."""
    lock = say(_("%(environment)s: bucket lock"), environment=environment.slug)
    try:
        with clients.onlooker(environment) as client:
            protection = bucket_protection.look(environment, client)
    except CloudflareError as error:
        yield unknown(lock, error)
        return
    if not protection.known:
        yield wrong(lock, protection.why)
        return
    bucket, root = environment.r2_bucket, bucket_access.root(environment)
    if not protection.held:
        sentence = _(
            "%(state)s. Run: npx wrangler r2 bucket lock add %(bucket)s kvops-backups %(root)s "
            "--retention-days %(days)s"
        )
        state = BucketProtection.Lock(protection.lock).label
        yield wrong(lock, say(sentence, state=state, bucket=bucket, root=root, days=timing.RETENTION_DAYS))
    elif protection.wider:
        sentence = _("The rule %(rule)s locks other data too. Give it the prefix %(root)s.")
        yield wrong(lock, say(sentence, rule=protection.wider[0], root=root))
    else:
        yield ok(lock)
    yield from _lifecycle(environment, protection)
    public = say(_("%(environment)s: bucket is private"), environment=environment.slug)
    if protection.public:
        sentence = _("Everybody can read it at %(host)s. Switch that address off in Cloudflare.")
        yield wrong(public, say(sentence, host=protection.public[0]))
    else:
        yield ok(public)


def _lifecycle(environment: Environment, protection: BucketProtection) -> Iterator[Diagnosis]:
    about = say(_("%(environment)s: lifecycle rules"), environment=environment.slug)
    add = _(
        "R2 deletes nothing under %(root)s by itself. Run: npx wrangler r2 bucket lifecycle add %(bucket)s %(name)s "
        "%(root)s --expire-days 30"
    )
    bucket, found = environment.r2_bucket, []
    if protection.deletes:
        sentence = _("The rule %(rule)s deletes backups. Remove it, or give it another prefix.")
        found.append(wrong(about, say(sentence, rule=protection.deletes[0])))
    if protection.expiry is None:
        found.append(wrong(about, say(add, root="investigations/", bucket=bucket, name="investigations")))
    if protection.proposals_locked:
        found.append(
            wrong(about, _("A lock covers proposals/, which must not be locked. Give the rule another prefix."))
        )
    elif not protection.proposals_expire:
        found.append(wrong(about, say(add, root="proposals/", bucket=bucket, name="proposals")))
    yield from found or [ok(about)]
