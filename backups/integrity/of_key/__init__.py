"""One key against its row of D1: the newest check that compared it, and both as they are now, for a person who asks."""
