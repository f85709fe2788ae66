"""The inventory: every key name of a namespace as of the newest complete scan.

`scan` lists a namespace into a stage and `merge` turns the stage into the inventory in one transaction. `families`
assigns each name to a key family and its category. `browse` answers the questions of the pages, `unexplained`
finds unexplained deletions, and `value` reads one value live for a person. `differences` are the changes from
one policy to another, and `impact` counts the keys that they concern. `registration` is one family as a person
registers it, and `families` also finds the persons who own one. Values are never stored.
"""
