"""The client. Every process of the sandbox reads the items of the account from the file that a variable names."""

import json
import os
from base64 import b64decode, b64encode
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.fakes.onepassword import OnePassword

FILE = Path(os.environ["FAKE_1PASSWORD"])


class StoredOnePassword(OnePassword):
    """An account with its items in a file."""

    def __init__(self) -> None:
        super().__init__(os.environ["OP_SERVICE_ACCOUNT_TOKEN"])
        rows = json.loads(FILE.read_text("utf-8")) if FILE.exists() else []
        self.items = {row["id"]: _item(row) for row in rows}

    async def _create(self, params: Any) -> None:
        await super()._create(params)
        self._store()

    def _store(self) -> None:
        FILE.write_text(json.dumps([_row(one) for one in self.items.values()]), "utf-8")


def _row(item: SimpleNamespace) -> dict[str, Any]:
    plain = {name: getattr(item, name) for name in ("id", "vault_id", "title", "notes", "tags")}
    content = b64encode(item.document.content).decode()
    return {**plain, "created_at": item.created_at.isoformat(), "name": item.document.name, "content": content}


def _item(row: dict[str, Any]) -> SimpleNamespace:
    document = SimpleNamespace(name=row.pop("name"), content=b64decode(row.pop("content")))
    return SimpleNamespace(**{**row, "created_at": datetime.fromisoformat(row["created_at"])}, document=document)


class Client:
    """The SDK's entry."""

    @staticmethod
    async def authenticate(**given: str) -> SimpleNamespace:
        """A signed-in client."""
        return await StoredOnePassword()._authenticate(**given)
