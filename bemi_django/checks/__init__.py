"""System checks.

bemi.E001  BEMI_CONTEXT_FUNCTION or BEMI_ADMIN_SCOPE cannot be imported or called
bemi.E002  psycopg2 is not installed
bemi.E003  the log is in another database but no router says so
bemi.E004  BEMI_TRUSTED_PROXIES is neither a number nor a list of networks
bemi.E005  BEMI_CONTEXT_FUNCTION is async but has to serve sync requests
bemi.E006  BEMI_TRUST_REQUEST_ID needs BEMI_TRUSTED_PROXIES
bemi.E007  BEMI_TABLE is not a name that the log can have
bemi.E010  a setting has a value of another type than it must have
bemi.E013  BEMI_BOOKKEEPING_TABLES is not a list of patterns
bemi.E015  BEMI_ARCHIVE is no path or address, or pyarrow is missing
bemi.E016  BEMI_RETENTION, BEMI_LEGAL_HOLD or BEMI_PRUNE_AT is wrong
bemi.E020  BEMI_IGNORE_COLUMNS, BEMI_VERSION_COLUMNS, BEMI_CONDITIONS or track() is wrong
bemi.E021  BEMI_MASK, BEMI_MASK_KEY, BEMI_ENCRYPTION_KEY or BEMI_KEY_STORE is wrong
bemi.E022  BEMI_MASKED_FIELDS has a wrong pattern
bemi.E023  BEMI_TAMPER_EVIDENCE, BEMI_ANCHORS or BEMI_ANCHOR_EVERY is wrong
bemi.E024  BEMI_AUTH_EVENTS or BEMI_ADMIN_EVENTS is wrong
bemi.E025  TimeTravelMiddleware is not where it works, or BEMI_TIME_TRAVEL_PRESENT is wrong
bemi.E026  BEMI_CONTEXT_KEYS has a key that is none, or too short, or BEMI_CONTEXT_AGE is no number
bemi.E027  BEMI_ALERT_HANDLERS or BEMI_WEBHOOK_NETWORKS is wrong
bemi.E028  BEMI_DESTINATIONS is wrong
bemi.E029  BEMI_SINK, BEMI_SINK_SECRET or BEMI_SINK_ATTEMPTS is wrong, or an extra is missing
bemi.W001  the middleware is missing
bemi.W007  aldjemy is installed but cannot work with psycopg 3 or SQLAlchemy 2
bemi.W016  BEMI_DESTINATION is not PostgreSQL, although another database is
bemi.W012  no admin site of the project's URLs has the audit trail

The following need ``manage.py check --database default``. ``migrate`` runs them too; warnings do not stop it.

bemi.E008  the log has another name than BEMI_TABLE
bemi.E009  some tenants find other tables by the name of the log
bemi.W002  tracked tables have missing or outdated triggers
bemi.W003  tracked tables do not have REPLICA IDENTITY FULL
bemi.W004  tracked tables are not in the publication, or it leaves out some of their changes
bemi.W005  wal_level is not logical
bemi.W006  chosen tables cannot be tracked: they are unlogged, or have virtual generated columns and no
           primary key
bemi.W008  handlers (on_change) are registered for tables that are not tracked
bemi.W009  every role may create objects in the schema of the log
bemi.W010  generated columns and casts to json cannot be computed by the role _bemi_compute
bemi.W011  the worker is not running, or has never run
bemi.W013  patterns of BEMI_INCLUDE match no table, or all tables are excluded
bemi.W014  tables that inherit from tracked tables are not tracked
bemi.W015  event triggers are missing, so new tables are not tracked at once
bemi.W020  patterns of BEMI_IGNORE_COLUMNS, BEMI_CONDITIONS or BEMI_EXCLUDE match nothing
bemi.W021  tables are recorded that the settings leave out
bemi.W022  the database cannot be reached, or the role may not read what is checked
bemi.W023  what the migrations of this app have made is missing, although they are applied
bemi.W024  months of the log were detached or dropped by hand
bemi.W025  row-level security is on for the log, or for tables that belong to it
"""

from __future__ import annotations

from bemi_django.checks.admin_sites import check_admin_sites
from bemi_django.checks.asked_databases import check_asked_databases
from bemi_django.checks.databases import check_databases, is_recording_to_begin
from bemi_django.checks.settings import check_settings

__all__ = [
    "check_admin_sites",
    "check_asked_databases",
    "check_databases",
    "check_settings",
    "is_recording_to_begin",
]
