"""Datasets: which D1 row a key corresponds to, and when the two are equal.

The policy (`backups.policy`) stores the datasets. `registry` reads them, with the digest of their rules. `mapping`
turns a row into a key name and a JSON value, and `canonical` gives a field and a column the same form before they are
compared. `files` reads dataset files, and `paging` reads a table of D1 in the order of its key.
"""
