"""The gate without HTTP: seconds, so that a guard can be broken a thousand times to see that a test notices."""

import pytest

from tests.gate import world as gate


@pytest.fixture
def world(db: None) -> gate.World:
    """QA and production, with their people."""
    return gate.world()
