"""The types that the product uses."""

from types import SimpleNamespace

from tests.fakes.onepassword import ItemCategory

ItemCreateParams = DocumentCreateParams = SimpleNamespace

__all__ = ["DocumentCreateParams", "ItemCategory", "ItemCreateParams"]
