"""The list of the keys of a namespace, beyond one page by name.

`query` turns the filters into the part that an index serves and the rest. `matching` counts what matches and makes the
tree of it, `order` gives a page by expiration or by first scan, and `rows` shows on a page only what differs.
`side_by_side` merges a namespace with the same binding of another environment. `saved` are the filters that a person
keeps, and `ticked` turns chosen keys into the scope of another page.
"""
