from __future__ import annotations

from typing import Any

import psycopg2
import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from bemi_django import conf

OPTIONS = [
    pytest.param({}, id="none"),
    pytest.param({"application_name": "audit", "options": "-c work_mem=5MB"}, id="libpq"),
    pytest.param({"isolation_level": 3, "assume_role": "nobody"}, id="Django"),
    pytest.param({"cursor_factory": None}, id="driver"),
]
if is_psycopg3:
    OPTIONS += [
        pytest.param({"pool": True, "server_side_binding": True}, id="Django on psycopg 3"),
        pytest.param({"prepare_threshold": 5, "row_factory": None, "autocommit": True}, id="psycopg 3"),
    ]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_worker_connects_with_what_django_connects_with(
    db: None, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    opened = psycopg2.connect(**conf.connection_parameters("default"))
    try:
        assert opened.info.dbname == connection.settings_dict["NAME"]
        assert opened.encoding == "UTF8"
        assert opened.info.parameter_status("application_name") == options.get("application_name", "")
        with opened.cursor() as cursor:
            cursor.execute("SHOW work_mem")
            assert cursor.fetchone() == ("5MB" if "options" in options else "4MB",)
    finally:
        opened.close()
