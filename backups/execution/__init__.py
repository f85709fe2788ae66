"""Shared by every run that needs an approval: its request's life, clients, prepaid requests, last reads, revalidation.

`lifecycle` takes a stage, a restore or a prune request from the submit to its run. `evidence` has the parts that a
deletion and a restore share, and `revalidation` derives it again. `presence` looks at the objects of the backup in its
bucket. `clients` opens the two clients of a run. `prepaid` pays for requests before work begins. `live_digests` and
`live_values` read the current entries and compare them with the backup, right before a delete or a write.
`announcements` reports an answer of Cloudflare that contradicts itself.
"""
