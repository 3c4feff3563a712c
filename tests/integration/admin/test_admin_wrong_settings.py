"""The first page of the admin with a wrong value of each setting, where nobody has run the checks."""

from __future__ import annotations

import re

from django.test import Client, override_settings

from tests.support.paths import ROOT

SETTINGS = sorted(set(re.findall(r"^\| `(BEMI_\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)))


def test_the_first_page_is_shown(admin_client: Client) -> None:
    failed = {}
    for name in SETTINGS:
        with override_settings(**{name: object()}):
            try:
                response = admin_client.get("/admin/")
            except Exception as error:
                failed[name] = repr(error)
                continue
        if response.status_code != 200:
            failed[name] = str(response.status_code)
    assert failed == {}
