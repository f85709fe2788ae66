"""Cloudflare's documented REST API for Workers KV, D1, the protection of R2 buckets and deployed code: reading.

Writing is in `writes`. No Django and no models here. Values are bytes, times are seconds, every call raises
CloudflareError.
"""

from kvops.cloudflare._answers import RemoteClock
from kvops.cloudflare._audit import AuditEntry
from kvops.cloudflare._budget import CallMeter, OperationMeter, RequestBudget, Unlimited, Unmetered
from kvops.cloudflare._client import Cloudflare
from kvops.cloudflare._d1 import Cell, D1Rows, DatabaseInfo
from kvops.cloudflare._errors import (
    ApiError,
    AuthError,
    CallRefused,
    CloudflareError,
    ConfigurationError,
    CursorRefused,
    DailyLimitReached,
    InvalidKeyName,
    KeyNotFound,
    NameRefused,
    NotFound,
    RateLimited,
    StatementRefused,
    TooLarge,
    TooLate,
    TransportError,
    UnexpectedAnswer,
)
from kvops.cloudflare._http import is_loopback
from kvops.cloudflare._kv import (
    BULK_GET_LIMIT,
    MAX_NAME_BYTES,
    KeyPage,
    KvEntry,
    ListedKey,
    NamespaceInfo,
    Value,
    marked_metadata,
    metadata_text,
)
from kvops.cloudflare._pages import PagesProject
from kvops.cloudflare._r2 import Domain, LifecycleRule, LockRule
from kvops.cloudflare._workers import Deployment, WorkerModule, WorkerVersion

__all__ = [
    "BULK_GET_LIMIT",
    "MAX_NAME_BYTES",
    "ApiError",
    "AuditEntry",
    "AuthError",
    "CallMeter",
    "CallRefused",
    "Cell",
    "Cloudflare",
    "CloudflareError",
    "ConfigurationError",
    "CursorRefused",
    "D1Rows",
    "DailyLimitReached",
    "DatabaseInfo",
    "Deployment",
    "Domain",
    "InvalidKeyName",
    "KeyNotFound",
    "KeyPage",
    "KvEntry",
    "LifecycleRule",
    "ListedKey",
    "LockRule",
    "NameRefused",
    "NamespaceInfo",
    "NotFound",
    "OperationMeter",
    "PagesProject",
    "RateLimited",
    "RemoteClock",
    "RequestBudget",
    "StatementRefused",
    "TooLarge",
    "TooLate",
    "TransportError",
    "UnexpectedAnswer",
    "Unlimited",
    "Unmetered",
    "Value",
    "WorkerModule",
    "WorkerVersion",
    "is_loopback",
    "marked_metadata",
    "metadata_text",
]
