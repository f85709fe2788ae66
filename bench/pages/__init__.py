"""Each page at a small and at a large installation: a database of each is filled, and both answer in turn."""
