"""The 1Password SDK as the product uses it, in memory: put in place of `onepassword.client` and `onepassword.types`."""

import sys
from datetime import UTC, datetime
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class ItemCategory(Enum):
    """Those the product makes."""

    DOCUMENT = "Document"


class SdkRefusal(Exception):
    """What the SDK raises, without a type of its own."""


class OnePassword:
    """An account with one service account's token, its secrets and vaults."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.secrets: dict[str, str] = {}
        self.vaults = {"Operations": "vault-1"}
        self.items: dict[str, SimpleNamespace] = {}
        self.calls: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the SDK of this process."""
        client, types = ModuleType("onepassword.client"), ModuleType("onepassword.types")
        client.Client = SimpleNamespace(authenticate=self._authenticate)  # type: ignore[attr-defined]
        types.ItemCategory = ItemCategory  # type: ignore[attr-defined]
        types.ItemCreateParams = types.DocumentCreateParams = SimpleNamespace  # type: ignore[attr-defined]
        package = ModuleType("onepassword")
        for module in (package, client, types):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    async def _authenticate(self, *, auth: str, integration_name: str, integration_version: str) -> SimpleNamespace:
        self.calls.append("authenticate")
        if auth != self.token:
            raise SdkRefusal(f"invalid service account token {auth}")
        files = SimpleNamespace(read=self._read)
        items = SimpleNamespace(create=self._create, get=self._get, list=self._list, delete=self._delete, files=files)
        vaults = SimpleNamespace(list=self._vaults)
        return SimpleNamespace(secrets=SimpleNamespace(resolve=self._resolve), items=items, vaults=vaults)

    async def _resolve(self, reference: str) -> str:
        self.calls.append(reference)
        if reference not in self.secrets:
            raise SdkRefusal(
                f"error resolving secret reference {reference}: no item matched the secret reference query"
            )
        return self.secrets[reference]

    async def _vaults(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(title=title, id=vault) for title, vault in self.vaults.items()]

    async def _create(self, params: Any) -> None:
        assert params.category is ItemCategory.DOCUMENT
        made = SimpleNamespace(**vars(params), id=f"item-{len(self.items)}", created_at=datetime.now(UTC))
        self.items[made.id] = made

    async def _list(self, vault_id: str) -> list[SimpleNamespace]:
        return [one for one in self.items.values() if one.vault_id == vault_id]

    async def _get(self, vault_id: str, item_id: str) -> SimpleNamespace:
        return self.items[item_id]

    async def _read(self, vault_id: str, item_id: str, document: SimpleNamespace) -> bytes:
        content: bytes = self.items[item_id].document.content
        return content

    async def _delete(self, vault_id: str, item_id: str) -> None:
        del self.items[item_id]
