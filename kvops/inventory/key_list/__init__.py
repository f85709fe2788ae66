"""The list of the keys of a namespace, beyond one page by name.

`query` turns the filters into the part that an index serves and the rest. `matching` counts the keys that match and
makes their tree, `order` gives a page by expiration or by first scan, and `rows` shows shared values once above the
list. `side_by_side` merges a namespace with the same binding of another environment, and `twins` does so for one key.
`saved` are the filters that a person keeps, and `actions` turns chosen keys into the scope of another page.
"""
