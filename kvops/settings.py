"""Settings, from the environment only. A wrong setting stops the process at start with its name."""

import logging
import sys
from pathlib import Path

from django.utils.csp import CSP
from django.utils.translation import gettext_lazy as _

from kvops import env, timing

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

SECRET_KEY = env.text("SECRET_KEY")
if len(SECRET_KEY) < 50:
    raise env.SettingError("SECRET_KEY takes at least 50 random characters.")
DEBUG = False
SANDBOX = env.flag("KVOPS_SANDBOX")
# The file that exists while `manage.py sandbox` still adds sample data.
SANDBOX_FILLING = env.text("KVOPS_SANDBOX_FILLING", "")
TESTING = env.flag("KVOPS_TESTING")
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS", "")
KVOPS_ALLOWED_API_HOSTS = env.hosts("KVOPS_ALLOWED_API_HOSTS")
KVOPS_MASTERS_API_HOSTS = env.hosts("KVOPS_MASTERS_API_HOSTS", "")
KVOPS_MASTERS_API_TOKEN = env.reference("KVOPS_MASTERS_API_TOKEN")
# Backups of settings are encrypted to the recipients. The identity that decrypts them and the key of their digests are
# resolved only in a worker or a command that needs them. kvops.wsgi refuses to start with either.
AGE_RECIPIENTS = env.recipients("KVOPS_AGE_RECIPIENTS")
AGE_IDENTITY = env.reference("KVOPS_AGE_IDENTITY")
DIGEST_KEY = env.reference("KVOPS_DIGEST_KEY")
# The identity that opens proposals of changes, and no backup. Only the web server has it.
REVIEW_IDENTITY = env.reference("KVOPS_REVIEW_IDENTITY")
KVOPS_ALLOWED_WEBHOOK_HOSTS = env.hosts("KVOPS_ALLOWED_WEBHOOK_HOSTS", "hooks.slack.com")
# Addresses that may read reasons on the health addresses and the metrics, besides those that send the token.
KVOPS_METRICS_HOSTS = env.networks("KVOPS_METRICS_HOSTS")
KVOPS_METRICS_TOKEN = env.bearer("KVOPS_METRICS_TOKEN")
# A reference to the DSN of a Sentry project. Errors are reported without values (`kvops.site.sentry`).
KVOPS_SENTRY_DSN = env.reference("KVOPS_SENTRY_DSN")
# The sweep calls it while all is well. It identifies the check, so it is kept like a secret.
KVOPS_HEARTBEAT_URL = env.address("KVOPS_HEARTBEAT_URL")
# The folder of the dumps of Postgres. The doctor looks at the newest one.
DUMPS = env.text("KVOPS_DUMPS", "")
BASE_URL = env.origin("KVOPS_BASE_URL", "http://localhost:8000")
HTTPS = BASE_URL.startswith("https://")
if not HTTPS and not (SANDBOX or TESTING):
    raise env.SettingError("KVOPS_BASE_URL takes the https:// address people use; plain http is for the sandbox.")

DATABASES = {
    "default": {
        **env.database("DATABASE_URL", application_name=env.process(sys.argv)),
        # A cursor that outlives its transaction does not exist behind PgBouncer in transaction mode.
        "DISABLE_SERVER_SIDE_CURSORS": env.flag("KVOPS_POOLED"),
    }
}
if (SANDBOX or TESTING) and not set(KVOPS_ALLOWED_API_HOSTS) <= {"127.0.0.1", "localhost"}:
    raise env.SettingError("KVOPS_SANDBOX and KVOPS_TESTING allow loopback hosts only in KVOPS_ALLOWED_API_HOSTS.")

INSTALLED_APPS = [
    "audit",
    "kvops",
    "backups",
    "allauth",
    "allauth.account",
    "django_q",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "kvops.site.access.AccessMiddleware",
    "kvops.site.probes.ProbeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "kvops.site.errors.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "kvops.site.headers.HeadersMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "kvops.site.preferences.PreferencesMiddleware",
    "kvops.site.signed_out.SignedOutMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "kvops.site.readonly.ReadOnlyMiddleware",
]
ROOT_URLCONF = "kvops.urls"
WSGI_APPLICATION = "kvops.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "kvops.site.menu.shell",
            ],
            "libraries": {"lucide": "kvops.templatetags.icons"},
        },
    },
]

# People. Sign-in is by e-mail; nobody can sign up, and nobody is exempt from the rules.
AUTH_USER_MODEL = "kvops.User"
AUTHENTICATION_BACKENDS = ["kvops.people.signin.LoginBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
PASSWORD_RESET_TIMEOUT = timing.INVITED
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "kvops.people.signin.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# For one account from one address (`kvops.people.signin`). So nobody can lock a person out from somewhere else.
ACCOUNT_RATE_LIMITS = {"login_failed": f"5/{timing.SIGNIN_COUNTED}s/key"}
ACCOUNT_REAUTHENTICATION_TIMEOUT = timing.REAUTHENTICATE
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[KVOps] "
ALLAUTH_TRUSTED_PROXY_COUNT = env.whole("KVOPS_TRUSTED_PROXY_COUNT", 0, least=0, most=10)
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-kvops" if HTTPS else "kvops"
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_NAME = "__Host-kvops-csrf" if HTTPS else "kvops-csrf"
CSRF_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^healthz/work$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ALLAUTH_TRUSTED_PROXY_COUNT else None
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
}
# Rate limits of the sign-in pages need a cache that all processes share.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "kvops_cache"},
    # For the queue's statistics, which are not used. In a real cache they would be two writes a second, which fail as
    # often if the connection is lost.
    "nothing": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
SMTP_HOST = env.text("SMTP_HOST", "")
if not SMTP_HOST and not (SANDBOX or TESTING):
    # A log that holds the mails holds links that set a password, and nobody reads its notices.
    raise env.SettingError("SMTP_HOST takes the host that sends mail; only the sandbox prints mails to its log.")
MAILERS = {
    "default": {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": SMTP_HOST,
            "port": env.whole("SMTP_PORT", 25, least=1, most=65535),
            "username": env.text("SMTP_USER", ""),
            "password": env.text("SMTP_PASSWORD", ""),
            "use_tls": env.flag("SMTP_TLS"),
            "timeout": 20,
        },
    }
    if SMTP_HOST
    else {"BACKEND": "django.core.mail.backends.console.EmailBackend"},
}
DEFAULT_FROM_EMAIL = env.text("KVOPS_MAIL_FROM", "kvops@localhost")

# Language and time. Times are shown in the person's zone, else in this one, with UTC on hover.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ja", _("Japanese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = env.zone("KVOPS_TIME_ZONE", "Asia/Tokyo")

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = Path(env.text("KVOPS_STATIC_ROOT", str(BASE_DIR / ".static")))
STORAGES = {
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# The queue only carries wake-up tasks; the truth is in our own tables. So nothing waits inside a worker, the queue
# retries nothing, and its scheduler is off.
WORKERS = env.whole("KVOPS_WORKERS", 2, least=1, most=64)
Q_CLUSTER = {
    "name": "kvops",
    "orm": "default",
    "broker_class": "kvops.queue.Broker",
    "workers": WORKERS,
    "timeout": 300,
    "retry": 900,
    "queue_limit": WORKERS,
    "bulk": 1,
    "ack_failures": True,
    "max_attempts": 1,
    "save_limit": 0,
    "poll": 0.5,
    "recycle": 200,
    "max_rss": 600_000,
    "catch_up": False,
    "guard_cycle": 0.5,
    "scheduler": False,
    "cache": "nothing",
    "time_zone": TIME_ZONE,
}

AUDIT_SUBJECTS = "kvops.subjects.tree"  # the audit log imports nothing of ours
# What other tables and the manifests say about the audit log, for `verify_audit`.
AUDIT_ROWS = ["kvops.runs.recorded.ROWS", "backups.history.recorded.ROWS"]
AUDIT_HEADS = ["backups.history.recorded.heads_of_backups", "backups.history.recorded.heads_of_manifests"]

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "kvops.logs.formatter"}},
    "filters": {"queue": {"()": "kvops.logs.QueueFilter"}, "outages": {"()": "kvops.outages.OutageFilter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["outages"]}},
    "root": {"handlers": ["console"], "level": env.one_of("LOG_LEVEL", "INFO", LOG_LEVELS)},
    # At lower levels these libraries log addresses, and with them key names.
    "loggers": {
        **{name: {"level": logging.WARNING} for name in ("httpx", "httpcore", "boto3", "botocore", "urllib3")},
        # At lower levels the queue notes each canary and each task three times.
        "django-q": {"level": "WARNING", "filters": ["queue"]},
    },
}
