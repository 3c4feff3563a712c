"""Django's settings for the variant ``BENCH_VARIANT`` on the database ``BENCH_DATABASE``."""

from __future__ import annotations

import json
import os

VARIANT = os.environ["BENCH_VARIANT"]
SECRET_KEY = "bench"
USE_TZ = True
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "bench.shop.urls"
BEMI_CONTEXT_FUNCTION = "bench.shop.views.context"

_PARAMETERS = json.loads(os.environ["BENCH_DATABASE"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _PARAMETERS["dbname"],
        "USER": _PARAMETERS["user"],
        "PASSWORD": _PARAMETERS["password"],
        "HOST": _PARAMETERS["host"],
        "PORT": _PARAMETERS["port"],
        "CONN_MAX_AGE": None,
    }
}

_APPS = {
    "ours": ["bemi_django"],
    "django-pghistory": ["pgtrigger", "pghistory"],
    "django-auditlog": ["auditlog"],
    "django-simple-history": ["simple_history"],
    "bemi-django": ["bemi"],
}
_MIDDLEWARE = {
    "ours": "bemi_django.middleware.BemiMiddleware",
    "django-pghistory": "pghistory.middleware.HistoryMiddleware",
    "django-auditlog": "auditlog.middleware.AuditlogMiddleware",
    "django-simple-history": "simple_history.middleware.HistoryRequestMiddleware",
    "bemi-django": "bemi.middleware.BemiMiddleware",
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    *_APPS.get(VARIANT, []),
    "bench.shop",
]
RECORDER = _MIDDLEWARE.get(VARIANT)
# Those of startproject.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    *([RECORDER] if RECORDER else []),
]
