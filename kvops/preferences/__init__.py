"""The preferences of an account: language of pages and mails, time zone, and personal notices.

They change only how one person reads KVOps. The policy needs some notices; those stay on, with the reason beside them.
"""
