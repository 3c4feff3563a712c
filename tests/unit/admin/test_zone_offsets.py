"""How far the reader's clock is ahead of UTC, for the hours of a period."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.utils import timezone as site_timezone

from bemi_django.admin.pages.activity.hour_sums import zone_offsets

BEGIN = datetime(2025, 12, 31, 23, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "zone",
    ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca"],
)
def test_each_hour_of_two_years_has_the_offset_of_its_zone(zone: str) -> None:
    end = BEGIN + timedelta(days=730)
    with site_timezone.override(zone):
        found = zone_offsets(BEGIN, end)
        hour, place = BEGIN, 0
        while hour < end:
            if place + 1 < len(found.moments) and hour >= found.moments[place + 1]:
                place += 1
            offset = site_timezone.localtime(hour).utcoffset()
            assert offset == timedelta(seconds=found.seconds[place]), hour
            hour += timedelta(hours=1)
