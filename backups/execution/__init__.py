"""Shared by every run that changes KV: clients, prepaid requests, last reads, revalidation.

`clients` opens the two clients of a run. `prepaid` pays for requests before work begins. `live_digests` and
`live_values` read the current entries and compare them with the backup, right before a delete or a write.
`evidence` has the parts that a deletion and a restore share, and `revalidation` derives it again. `announcements`
reports an answer of Cloudflare that contradicts itself.
"""
