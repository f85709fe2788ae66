"""1Password, through its SDK: the optional extra `onepassword`, and a service account's token in the environment.

The only module that imports the SDK. https://developer.1password.com/docs/sdks documents the calls; a service account
has hourly and daily limits.
"""

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

from kvops import timing
from kvops.refusals import Sentence as _

TOKEN = "OP_SERVICE_ACCOUNT_TOKEN"  # noqa: S105  (the name the SDK's own documentation gives the variable)


class Unavailable(Exception):
    """1Password cannot be asked, or refused. The message is one sentence with the remedy, never a secret."""


def sdk(module: str) -> Any:
    """A module of the SDK. Raises Unavailable if the extra is not installed."""
    try:
        return importlib.import_module(f"onepassword.{module}")
    except ImportError as error:
        raise Unavailable(
            _("This needs the 1Password SDK, which is not installed: pip install -r requirements-onepassword.txt.")
        ) from error


def is_set_up() -> bool:
    """Whether this process has the SDK and a token."""
    if not os.environ.get(TOKEN, "").strip():
        return False
    try:
        sdk("client")
    except Unavailable:
        return False
    return True


def ask_onepassword[T](work: Callable[[Any], Awaitable[T]], *, passing: type[Exception] = Unavailable) -> T:
    """The result of `work` with a signed-in client. Raises Unavailable, and `passing` if `work` raises it."""
    client_class = sdk("client").Client
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise Unavailable(
            _("%(variable)s is not set in this process: give it the token of a service account.", variable=TOKEN)
        )

    async def whole() -> T:
        async with asyncio.timeout(timing.REQUEST_TIMEOUT):
            client = await client_class.authenticate(auth=token, integration_name="KVOps", integration_version="v0.1.0")
            return await work(client)

    try:
        return asyncio.run(whole())
    except passing:
        raise
    except TimeoutError as error:
        raise Unavailable(_("1Password did not answer in time.")) from error
    except Exception as error:  # noqa: BLE001  (the SDK raises nothing more exact)
        # The SDK's text names the reference or the limit, never a value.
        raise Unavailable(_("1Password refused: %(said)s", said=str(error).replace(token, "…")[:200])) from None


def resolve(reference: str) -> str:
    """The secret that an `op://vault/item/field` names. Raises Unavailable."""
    found: str = ask_onepassword(lambda client: client.secrets.resolve(reference))
    return found
