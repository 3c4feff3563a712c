"""A project of django-tenants, with a schema for each tenant, on the server of the environment."""

from __future__ import annotations

import os

from sample_project.database import database_from

SECRET_KEY = "for-tests-only"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.tenants.urls"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

DATABASES = {"default": {**database_from(os.environ), "ENGINE": "django_tenants.postgresql_backend"}}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
TENANT_MODEL = "customers.Customer"
TENANT_DOMAIN_MODEL = "customers.Domain"

OF_EACH = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
]
SHARED_APPS = ["django_tenants", "tests.tenants.customers", "bemi_django", *OF_EACH]
TENANT_APPS = [*OF_EACH, "tests.tenants.notes"]
INSTALLED_APPS = [*SHARED_APPS, "tests.tenants.notes"]

MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "bemi_django.middleware.BemiMiddleware",
]
_PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": _PROCESSORS},
    }
]

BEMI_SLOT = os.environ["SLOT"]
# The worker has always written everything before the past is asked.
BEMI_AS_OF_PATIENCE = 0
