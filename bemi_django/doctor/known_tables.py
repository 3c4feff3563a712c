"""Tables of popular packages that are better left out of the log, and columns that are better masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from bemi_django import conf
from bemi_django.doctor.finding import Finding
from bemi_django.schema.search_path import closed_cursor
from bemi_django.wire.name_pattern import matches

#: Patterns of names, by what the tables hold.
TABLES = {
    "search indexes": ("wagtailsearch_indexentry*", "wagtailsearch_editorspick", "watson_searchentry"),
    "editing sessions": ("wagtailadmin_editingsession", "cms_placeholderreference"),
    "sessions": ("django_session", "user_sessions_session", "qsessions_session"),
    "thumbnails": (
        "thumbnail_kvstore", "easy_thumbnails_*", "wagtailimages_rendition", "filer_thumbnailoption",
    ),
    "task queues and results": (
        "django_celery_results_*", "celery_taskmeta", "celery_tasksetmeta", "django_q_ormq", "django_q_task",
        "procrastinate_*", "django_tasks_database_*", "background_task*", "django_apscheduler_*",
        "django_rq_*", "huey_*", "dramatiq_task", "django_dramatiq_task", "kombu_message", "kombu_queue",
    ),
    "caches": ("django_cache", "cache_table", "my_cache_table", "constance_config_cache"),
    "profiles of requests": ("silk_*", "debug_toolbar_historyentry", "request_request"),
    "attempts to log in": ("axes_*", "defender_accessattempt"),
    "the history that another package keeps": (
        "reversion_version", "reversion_revision", "auditlog_logentry", "easyaudit_*", "pghistory_*",
    ),
    "health checks": ("health_check_db_testmodel",),
}  # fmt: skip
#: Columns that hold secrets, as BEMI_MASKED_FIELDS names them.
SECRETS = (
    "authtoken_token.key", "knox_authtoken.digest", "socialaccount_socialtoken.token",
    "socialaccount_socialtoken.token_secret", "socialaccount_socialapp.secret", "otp_totp_totpdevice.key",
    "otp_static_statictoken.token", "oauth2_provider_accesstoken.token", "oauth2_provider_refreshtoken.token",
    "oauth2_provider_application.client_secret", "token_blacklist_outstandingtoken.token",
    "social_auth_usersocialauth.extra_data", "mfa_authenticator.data",
)  # fmt: skip
_COLUMNS = """
SELECT DISTINCT concat(c.relname, '.', a.attname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
WHERE concat(n.nspname, '.', c.relname) = ANY (%s) AND concat(c.relname, '.', a.attname) = ANY (%s)
ORDER BY 1
"""


def findings(source: str, tracked: Sequence[str]) -> Iterator[Finding]:
    """Yield known tables and columns among those that are tracked or will be.

    Args:
        source: Alias of the source.
        tracked: Names of tables, ``schema.table``.
    """
    for what, patterns in TABLES.items():
        names = sorted({name for name in tracked if _matches(name, patterns)})
        if names:
            yield Finding(
                "bemi.D012",
                f"Tables that hold {what} are tracked: {', '.join(names)}.",
                f"Add them to BEMI_EXCLUDE, then run manage.py bemi sync: {names}.",
            )
    with closed_cursor(source) as cursor:
        cursor.execute(_COLUMNS, [list(tracked), list(SECRETS)])
        columns = [name for (name,) in cursor.fetchall()]
    masked = conf.masked_fields()
    shown = [name for name in columns if not any(fnmatchcase(name, pattern) for pattern in masked)]
    if shown:
        yield Finding(
            "bemi.D013",
            f"Columns that hold secrets are shown to all who may see the log: {', '.join(shown)}.",
            f"Add them to BEMI_MASKED_FIELDS: {[*masked, *shown]}.",
        )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    table = name.partition(".")[2]
    return any(matches(pattern, table) for pattern in patterns)
