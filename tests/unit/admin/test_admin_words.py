"""What pages say in a word or a sentence, in the reader's language."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from django.utils.translation import override

from bemi_django.admin.display.object_labels import noun_before
from bemi_django.admin.display.values.operation_names import OPERATIONS, operation_text
from bemi_django.admin.pages.activity.activity_page import share
from bemi_django.alerts.webhook import AlertFailed, checked
from bemi_django.exceptions import BeforeHistory, BemiError, HistoryError, LogBehind
from bemi_django.site_past.reasons import reason_in_text, reason_of
from bemi_django.time_travel.past_tables import complete_from


@pytest.mark.parametrize(
    ("label", "noun"),
    [
        ("Order 12", ""),
        ("order 12", ""),
        ("ORDER\u00a012", ""),
        ("Order", "order"),
        ("Orders of May", "order"),
        ("12", "order"),
        ("", "order"),
    ],
)
def test_a_label_that_says_what_an_object_is_needs_no_noun(label: str, noun: str) -> None:
    assert noun_before(label, "order") == noun
    assert noun_before(label, "") == ""


@pytest.mark.parametrize(
    ("number", "total", "text"),
    [
        (0, 0, "0.0%"),
        (0, 9, "0.0%"),
        (9, 37_304, "less than 0.1%"),
        (1, 3, "33.3%"),
        (9_999, 10_000, "99.9%"),
        (9, 9, "100.0%"),
    ],
)
def test_a_small_share_is_not_none_and_a_large_one_not_all(number: int, total: int, text: str) -> None:
    assert share(number, total) == text
    with override("de"):
        assert share(1, 3) == "33,3 %"


def test_operations_have_names_in_other_languages() -> None:
    assert [operation_text(name) for name, _label in OPERATIONS] == [name for name, _label in OPERATIONS]
    with override("de"):
        assert (operation_text("DELETE"), operation_text("NEW")) == ("Löschen", "NEW")
    # Django's admin calls its button by the imperative, and its translation of a text comes first.
    with override("ar"):
        assert operation_text("DELETE") == "حذف"


class Reader:
    """A user who may view the health page, or not."""

    def __init__(self, *permissions: str) -> None:
        self.permissions = permissions

    def has_perm(self, name: str) -> bool:
        return name in self.permissions


ADMINISTRATOR = Reader("bemi_django.view_health")


@pytest.mark.parametrize("error", [HistoryError("ends at 0/10"), LogBehind("ends at 0/10")])
def test_what_an_administrator_needs_to_know_follows_what_people_do(error: BemiError) -> None:
    assert reason_in_text(error, ADMINISTRATOR).endswith(" (ends at 0/10)")
    assert "0/10" not in reason_in_text(error, Reader()) + reason_of(error, Reader())
    with override("de"):
        assert reason_in_text(error, Reader()).startswith("Das Protokoll")
        # Readers of a page are told that it is another language, and browsers that it has another direction.
        assert reason_of(error, ADMINISTRATOR).endswith(' <bdi lang="en">(ends at 0/10)</bdi>')


def test_a_moment_before_the_log_is_refused_with_the_first_one_that_is_known() -> None:
    since = datetime(2026, 3, 1, 7, tzinfo=timezone.utc)
    said = "The log is complete from March 1, 2026 07:00:00 on. Choose a later moment."
    error = BeforeHistory("0/10 is before history", since)
    assert reason_of(error, ADMINISTRATOR) == said
    with override("de"):
        assert reason_of(error, Reader()).startswith(
            "Das Protokoll ist ab 1. März 2026 07:00:00 vollständig."
        )
    complete = complete_from(16, since, "public.todo")
    truncated = HistoryError(f"public.todo was truncated: {complete}", since)
    assert reason_in_text(truncated, Reader()).endswith(f"this moment. {said} (public.todo was truncated)")
    assert "(0/10)" in reason_of(truncated, ADMINISTRATOR)


def test_why_an_alert_was_not_sent_is_english_in_logs_and_translated_on_pages() -> None:
    with override("de"), pytest.raises(AlertFailed) as failure:
        checked("ftp://example.com")
    assert str(failure.value) == "the URL has to begin with https://"
    with override("de"):
        assert failure.value.said == "Die URL muss mit https:// beginnen."
