"""A backup compared with a later backup, or with the present contents of KV. Nothing is changed.

`start` starts a comparison, `run` works through it in stretches of names. It keeps only the names that differ, so a
page of them is one index. Two backups are compared once, the later against the earlier, under the prefixes that both
cover. A backup of given names, such as a clean-up's, says nothing of other names, and the page says so. For a
restore, the comparison covers the names it wrote, in the namespace it wrote to.

`values` shows a key on both sides on request, with `text_diff`. It is recorded first, and values of masked keys are
not read.
"""
