"""Five people of the shop do their work in the audit view, and their clicks are counted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Site, chromium, launched, logged_in, running_site
from tests.support.paths import ROOT
from tests.support.visitor import Visitor

LIST = "/admin/bemi_django/change/"
#: Where pictures are kept: those of docs/ are made with ``make screenshots``, of the whole season.
PICTURES = os.environ.get("BEMI_SCREENSHOTS")
SIZE = [] if PICTURES else ["--days", "2", "--scale", "0.05"]
SETTINGS = "tests.support.store_settings"

Visit = Callable[..., Any]


@pytest.fixture(scope="module")
def shop() -> Iterator[Site]:
    chromium()
    with running_site(os.environ["DATABASE_URL"], SETTINGS, "bemi_shop") as site:
        environment = {**os.environ, "DATABASE_URL": site.database_url, "DJANGO_SETTINGS_MODULE": SETTINGS}
        subprocess.run(
            [sys.executable, "-m", "sample_project.store.season", *SIZE],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
        )
        yield site


@pytest.fixture(scope="module")
def browser(shop: Site) -> Iterator[Any]:
    with launched() as opened:
        yield opened


@pytest.fixture(scope="module")
def sessions() -> dict[str, Any]:
    """The cookies of everybody who has logged in, by user name."""
    return {}


@pytest.fixture
def visit(browser: Any, shop: Site, sessions: dict[str, Any], tmp_path: Path) -> Iterator[Visit]:
    """Be somebody at a page: ``visit(username, path)``."""
    stack = ExitStack()

    @contextmanager
    def opened(username: str, options: dict[str, Any]) -> Iterator[Visitor]:
        if username not in sessions:
            sessions[username] = logged_in(browser, shop, username)
        context = browser.new_context(storage_state=sessions[username], **options)
        visitor = Visitor(context.new_page(), shop, Path(PICTURES) if PICTURES else tmp_path)
        yield visitor
        context.close()
        assert visitor.complaints == []

    def visit(username: str, path: str, **options: Any) -> Visitor:
        options = {"viewport": {"width": 1280, "height": 860}, **options}
        visitor = stack.enter_context(opened(username, options))
        visitor.goto(path)
        return visitor

    with stack:
        yield visit


def first_product(shop: Site) -> int:
    return int(shop.execute("SELECT min(id) FROM store_product")[0][0])


def test_support_puts_back_the_price_of_two_saves_ago(visit: Visit, shop: Site) -> None:
    pk = first_product(shop)
    support = visit("sup.sara", f"/admin/store/product/{pk}/change/")
    support.click(support.page.get_by_role("link", name="History").last)
    step = support.page.locator(".bemi-step", has_text="49.90").filter(has_text="44.90")
    support.click(step.get_by_role("link", name="Put back price"))
    support.picture("revert")
    support.click(support.page.get_by_role("button", name="Set price to 49.90"))
    assert support.clicks <= 4
    assert str(shop.execute("SELECT price FROM store_product WHERE id = %s", [pk])[0][0]) == "49.90"


def test_support_puts_back_a_price_from_the_form_of_its_product(visit: Visit, shop: Site) -> None:
    pk = first_product(shop) + 1
    ((price, known),) = shop.execute(
        "SELECT price, (SELECT count(*) FROM changes WHERE \"table\" = 'store_product') "
        "FROM store_product WHERE id = %s",
        [pk],
    )
    shop.execute("UPDATE store_product SET price = price + 1 WHERE id = %s", [pk])
    shop.arrived(known + 1, "store_product")
    support = visit("sup.sara", f"/admin/store/product/{pk}/change/")
    latest = support.page.get_by_role("region", name="Latest changes")
    assert 1 <= latest.locator(".bemi-step").count() <= 5
    latest.scroll_into_view_if_needed()
    support.picture("inline")
    support.click(latest.get_by_role("link", name="Put back price").first)
    support.click(support.page.get_by_role("button", name="Set price to"))
    assert support.clicks == 2 and f"/product/{pk}/change/" in support.page.url
    assert shop.execute("SELECT price FROM store_product WHERE id = %s", [pk]) == [(price,)]


def test_security_finds_who_was_made_a_superuser_and_by_whom(visit: Visit) -> None:
    security = visit("sec.vera", LIST)
    security.page.fill("#filter-q", "became:is_superuser:true")
    security.click(security.page.get_by_role("button", name="Search", exact=True))
    found = security.page.locator(".bemi-action", has_text="war.otto").filter(has_text="superuser status")
    assert "outside" in found.inner_text()
    security.picture("security")
    security.click(found.locator(".bemi-when a"))
    security.click_here(security.page.locator("summary", has_text=re.compile("^SQL$")))
    # The values of a table that has passwords are not stored.
    assert "UPDATE auth_user" in security.page.locator("#content-main").inner_text()
    assert security.clicks <= 3


def test_a_developer_reads_what_a_checkout_did(visit: Visit) -> None:
    developer = visit("dev.dev", f"{LIST}?endpoint=/store/cart/checkout/")
    order = developer.page.locator(".bemi-action", has_text="created order").first
    assert re.search(r"visitor created Order .* with \d order lines?", order.inner_text())
    developer.click(order.locator(".bemi-when a"))
    developer.picture("request")
    developer.click_here(developer.page.locator("summary", has_text="All as SQL"))
    assert 'INSERT INTO "public"."store_orderline"' in developer.page.locator("#content-main").inner_text()
    assert developer.clicks <= 2


def test_a_manager_sees_who_did_most_and_what(visit: Visit) -> None:
    manager = visit("man.maria", LIST)
    manager.click(manager.page.get_by_role("link", name="Activity", exact=True))
    assert manager.page.locator("svg .bemi-bar").count() > 0
    manager.click(manager.page.locator(".bemi-shares a[href*='user=']").first)
    assert manager.page.locator(".bemi-action").count() > 0
    assert manager.clicks <= 3


def test_an_administrator_of_the_database_sees_the_worker_and_what_went_past_the_site(
    visit: Visit, shop: Site
) -> None:
    # As of any day of the season, the whole site can be shown.
    late = "SELECT name FROM _bemi.past WHERE since_time > (SELECT min(committed_at) FROM changes)"
    assert shop.execute(late) == []
    administrator = visit("dev.root", f"{LIST}health/")
    assert "running" in administrator.page.locator(".bemi-fact").first.inner_text()
    administrator.click(administrator.page.get_by_role("link", name="Changes", exact=True).last)
    administrator.click(administrator.page.get_by_role("link", name="Outside the application").first)
    assert administrator.page.locator(".bemi-action", has_text="UPDATE").count() > 0
    assert administrator.clicks <= 3


def pages(shop: Site) -> dict[str, str]:
    """Return the addresses of pages, by the names of their pictures."""
    product = first_product(shop)
    ((change,),) = shop.execute(
        "SELECT id::text FROM changes WHERE operation = 'UPDATE' AND context ->> 'reason' = 'Black Friday' "
        "AND \"table\" = 'store_product' ORDER BY id DESC LIMIT 1"
    )
    return {
        "changes": f"{LIST}?table=store_order",
        "rows": f"{LIST}?view=rows&table=store_product",
        "change": f"{LIST}{change}/change/",
        "timeline": f"{LIST}timeline/store/product/{product}/",
        "field-history": f"{LIST}timeline/store/product/{product}/?field=price",
        "deleted": f"{LIST}deleted/",
        "activity": f"{LIST}activity/",
        "health": f"{LIST}health/",
    }


#: All of them for the documentation: that they fit and can be read is tested with the sample project.
LOOKED_AT = (
    ["changes", "rows", "change", "timeline", "field-history", "deleted", "activity", "health"]
    if PICTURES
    else ["field-history"]
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "prefix"), [(1280, ""), (390, "phone-")])
@pytest.mark.parametrize("name", LOOKED_AT)
def test_pages_of_the_shop_are_looked_at(
    visit: Visit, shop: Site, name: str, scheme: str, width: int, prefix: str
) -> None:
    path = pages(shop)[name]
    visitor = visit("dev.dev", path, viewport={"width": width, "height": 860}, color_scheme=scheme)
    visitor.picture(f"{prefix}{name}{'' if scheme == 'light' else '-dark'}")
    assert visitor.page.locator(".bemi-tabs").is_visible()
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width


#: What is wider than the table, the step or the card that it is in.
STANDING_OUT = """() => [...document.querySelectorAll(".bemi :is(a, button, time, p)")].filter((e) => {
    const box = e.closest("table, li, aside, form");
    if (!box || !e.checkVisibility() || e.closest(".bemi-hidden, svg, .bemi-unfold")) return false;
    const [own, around] = [e.getBoundingClientRect(), box.getBoundingClientRect()];
    return own.width > 0 && (own.right > around.right + 5 || own.left < around.left - 5);
}).map((e) => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize(
    ("language", "direction", "actions"), [("de", "ltr", "Aktionen"), ("ar", "rtl", "الإجراءات")]
)
def test_pages_speak_other_languages(
    visit: Visit, shop: Site, language: str, direction: str, actions: str
) -> None:
    visitor = visit("dev.dev", pages(shop)["changes"], locale=language)
    assert visitor.page.locator("html").get_attribute("dir") == direction
    assert visitor.page.locator(".bemi-switch", has_text=actions).is_visible()
    for name, path in pages(shop).items():
        visitor.goto(path)
        # The width decides about styles alone. A tablet has little room beside the bar of the admin.
        for width, suffix in ((1280, ""), (1024, None), (768, None), (390, "-phone")):
            visitor.page.set_viewport_size({"width": width, "height": 860})
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert visitor.page.evaluate(STANDING_OUT) == [], (name, width)
            if suffix is not None:
                visitor.picture(f"{language}-{name}{suffix}")
            if name == "timeline":
                old, arrow, new = (step_part(visitor, part) for part in ("old", "arrow", "new"))
                assert (old["x"] < arrow["x"] < new["x"]) == (direction == "ltr")
                assert arrow["flipped"] == (direction == "rtl")


def step_part(visitor: Any, name: str) -> Any:
    """Where a part of a difference is, and whether it shows in the other direction."""
    # The decimal separator is that of the language.
    row = (
        visitor.page.locator(".bemi-change tr", has_text=re.compile("44.90"))
        .filter(has_text=re.compile("49.90"))
        .first
    )
    return row.locator(f".bemi-{name}").evaluate(
        "(e) => ({x: e.getBoundingClientRect().x, flipped: getComputedStyle(e).transform.includes('-1')})"
    )
