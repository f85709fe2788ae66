"""The probe: whether the real Cloudflare behaves as KVOps relies on, tried on a scratch namespace and bucket.

The probe is the one exception among the importers of `kvops.cloudflare.writes`: no approval is behind its writes. It
writes only names and objects under a random prefix that it made in this run, never into a namespace or bucket that an
environment uses, and removes them. The start entry with the prefix is in the audit log before the first write.
"""
