"""Datasets: which D1 row is in which key, and when the two are equal.

`definition` reads a dataset from the policy, and `registry` reads the stored ones, with the digest of their rules.
`mapping` is the rule itself: `names` makes the name of a row's key, `shapes` finds the rows in a key's value, `paths`
finds fields inside a row, and `statements` reads the table. `canonical` gives a field and a column the same form
before they are compared, and `type_rules` widens what is the same. Both sides of a comparison are in `sides`. `files`
reads dataset files, and `paging` reads a table of D1 in the order of its key.
"""
