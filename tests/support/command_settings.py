"""A project of two databases, named by the environment: one is recorded, the other holds the log."""

from __future__ import annotations

import json
import os

from sample_project.database import database_from

SECRET_KEY = "for-tests-only"
INSTALLED_APPS = ["bemi_django"]
MIDDLEWARE = ["bemi_django.middleware.BemiMiddleware"]
DATABASES = {
    "default": database_from(os.environ),
    "log": database_from({"DATABASE_URL": os.environ["LOG_URL"]}),
}
DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
USE_TZ = True

BEMI_DESTINATION = "log"
BEMI_WEBHOOK_HTTP = True
BEMI_WEBHOOK_NETWORKS = ["127.0.0.0/8"]
BEMI_SINK_SECRET = "a secret for tests"
BEMI_SLOT = os.environ["SLOT"]
BEMI_ACCEPT_GAP = "ACCEPT_GAP" in os.environ
if "SECOND_LOG_URL" in os.environ:
    DATABASES["second"] = database_from({"DATABASE_URL": os.environ["SECOND_LOG_URL"]})
    BEMI_DESTINATIONS = json.loads(os.environ["DESTINATIONS"])
BEMI_TAMPER_EVIDENCE = "TAMPER_EVIDENCE" in os.environ
BEMI_ANCHORS = os.environ.get("ANCHORS", "").split()
