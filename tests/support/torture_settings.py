"""Two servers: what is written in one is logged in the other."""

from __future__ import annotations

import os

from sample_project.database import database_from

SECRET_KEY = "torture"
INSTALLED_APPS = ["bemi_django"]
MIDDLEWARE = ["bemi_django.middleware.BemiMiddleware"]
DATABASES = {
    "default": database_from({"DATABASE_URL": os.environ["SOURCE_URL"]}),
    "log": database_from({"DATABASE_URL": os.environ["LOG_URL"]}),
}
DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
BEMI_DESTINATION = "log"
USE_TZ = True
