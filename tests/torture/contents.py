"""What a copy holds, read out of the bucket without the product."""

import base64
import json
from collections.abc import Mapping

from backups.models import Generation
from tests.fakes.namespaces import Item
from tests.fakes.rawjson import elements


def of(generation: Generation, objects: Mapping[str, bytes]) -> dict[str, Item]:
    """Every entry by its name, with its metadata as the text it was written as."""
    parts = json.loads(objects[generation.manifest_key])["parts"]
    found = (_item(entry) for part in parts for entry in elements(objects[part["key"]].decode()))
    return {item.name: item for item in found}


def _item(entry: Mapping[str, str]) -> Item:
    data = str(json.loads(entry["value"])).encode()
    return Item(
        json.loads(entry["key"]),
        base64.b64decode(data) if entry.get("base64") == "true" else data,
        int(entry["expiration"]) if "expiration" in entry else None,
        entry.get("metadata"),
    )
