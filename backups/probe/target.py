"""The scratch namespace and bucket of a probe, and the reasons to refuse them."""

from dataclasses import dataclass, field

from backups.models import Generation
from backups.probe.allowance import why_held
from kvops.connections import credentials
from kvops.models import Environment, Namespace, Scratch
from kvops.refusals import Refused


class TargetRefused(Refused):
    """The probe may not write there. Nothing was sent."""


@dataclass(frozen=True)
class Target:
    """A scratch namespace and a scratch bucket in the account of an environment, with the tokens of the probe."""

    environment: Environment
    namespace_id: str
    bucket: str
    write_reference: str
    read_token: str = field(repr=False)
    write_token: str = field(repr=False)
    r2_access_key_id: str = field(repr=False)
    r2_secret_access_key: str = field(repr=False)


def target_of(
    environment: Environment,
    *,
    namespace_id: str,
    bucket: str,
    write_token: str,
    r2_access_key_id: str = "",
    r2_secret_access_key: str = "",
) -> Target:
    """The target, with its secrets read. References that are empty are the environment's.

    Raises TargetRefused for a namespace or bucket that an environment uses or used, for tokens that are missing or not
    the probe's own, and while an emergency stop or a rollback is in force.
    """
    if why := why_held():
        raise TargetRefused(why)
    _insist_unused(namespace_id, bucket)
    if Environment.objects.filter(write_token=write_token).exists():
        raise TargetRefused(
            f"{write_token} is the write token of an environment. Make a token for the probe, and delete it afterwards."
        )
    try:
        found = Target(
            environment,
            namespace_id,
            bucket,
            write_token,
            credentials.resolve(environment.read_token),
            credentials.resolve(write_token),
            credentials.resolve(r2_access_key_id or environment.r2_access_key_id),
            credentials.resolve(r2_secret_access_key or environment.r2_secret_access_key),
        )
    except credentials.UnresolvedReference as missing:
        raise TargetRefused(str(missing)) from missing
    if found.write_token == found.read_token:
        raise TargetRefused("The read and the write token are the same. Give the probe a write token of its own.")
    return found


def _insist_unused(namespace_id: str, bucket: str) -> None:
    for model in (Namespace, Scratch):
        bound = model.objects.filter(namespace_id__iexact=namespace_id).first()
        if bound is not None:
            raise TargetRefused(
                f"The namespace is bound as {bound} in environments.toml. Make an empty one for the probe."
            )
    used = Environment.objects.filter(r2_bucket=bucket).first()
    if used is not None:
        raise TargetRefused(f"The bucket is that of {used.slug} in environments.toml. Make an empty one for the probe.")
    if Generation.objects.filter(bucket=bucket).exists():
        raise TargetRefused("KVOps has put backups into this bucket. Make an empty one for the probe.")
