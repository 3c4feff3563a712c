"""The audit view as a person sees it: in Chromium, on the sample project, under a strict policy."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit_pages import LIST, PAGES, address, looks, problems, sheet
from tests.support.browser import LOGIN, Site, chromium, launched, logged_in, optional, running_site, serving
from tests.support.polling import until
from tests.support.visitor import Visitor

#: Where pictures are kept: those of docs/ are made with ``make screenshots``.
PICTURES = os.environ.get("BEMI_SCREENSHOTS")
EVIL = "Write <script>document.title = 'run'</script> the report"


@pytest.fixture(scope="module")
def site(pytestconfig: pytest.Config) -> Iterator[Site]:
    chromium()
    with running_site(os.environ["DATABASE_URL"]) as site:
        yield site


@pytest.fixture(scope="module")
def browser(site: Site) -> Iterator[Any]:
    with launched() as opened:
        yield opened


@pytest.fixture
def visit(
    browser: Any, site: Site, session: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Visitor]:
    options = {
        "viewport": {"width": 1280, "height": 860},
        "permissions": ["clipboard-read", "clipboard-write"],
    }
    options |= getattr(request, "param", {})
    context = browser.new_context(**options, storage_state=session)
    visitor = Visitor(context.new_page(), site, Path(PICTURES) if PICTURES else tmp_path)
    yield visitor
    context.close()
    assert visitor.complaints == []


@pytest.fixture(scope="module")
def session(site: Site, browser: Any) -> Any:
    """The cookies of somebody who has logged in, once: each time would be a change."""
    return logged_in(browser, site)


@pytest.fixture(scope="module")
def story(site: Site, browser: Any, session: Any) -> None:
    """What a person does on the site, and an administrator by psql; it is in the log."""
    page = browser.new_page(storage_state=session)
    page.goto(site.url)
    for task in ("Buy milk and bread", "Call the bank", EVIL, "Water the plants"):
        page.fill("input[name=task]", task)
        with page.expect_navigation():
            page.keyboard.press("Enter")
    page.close()
    site.execute("INSERT INTO tag (name) VALUES ('home'), ('work')")
    site.execute(
        "INSERT INTO todo_tags (todo_id, tag_id) SELECT t.id, g.id FROM todo t, tag g WHERE t.id < 3"
    )
    site.execute("UPDATE todo SET task = 'Buy oat milk and bread' WHERE id = 1")
    site.execute("UPDATE todo SET is_completed = true WHERE id = 2")
    site.execute("DELETE FROM todo WHERE task = 'Water the plants'")
    site.arrived(7)
    # What the first request has started: a task, which keeps its context, and a request of that.
    query = (
        """SELECT context - 'SQL' - 'connection' FROM changes WHERE "table" = 'todo' ORDER BY id LIMIT 1"""
    )
    first = site.execute(query)[0][0]
    request = {"request_id": "r2", "parent_request_id": first["request_id"], "endpoint": "/api/mail/"}
    write = (
        "BEGIN; SELECT set_config('bemi.context', %s, true); UPDATE tag SET name = name WHERE id = 1; COMMIT"
    )
    for started in ({"task": "remind"}, request):
        site.execute(write, [json.dumps({**first, "task_id": "t1", **started})])
    site.arrived(4, "tag")


def test_changes_arrive_are_filtered_and_opened(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}?view=rows")
    visit.page.select_option("#filter-table", "todo")
    visit.page.check("#filter-outside")
    visit.submit("Search")
    operations = visit.page.locator("tbody .bemi-op").all_inner_texts()
    # Another test may have restored and deleted once more.
    assert operations[-3:] == ["DELETE", "UPDATE", "UPDATE"]
    visit.follow(visit.page.locator("tr", has_text="Buy oat milk").locator(".bemi-when a"))
    assert visit.page.locator(".bemi-before mark").all_inner_texts() == []
    assert visit.page.locator(".bemi-after mark").all_inner_texts() == ["oat "]


def test_an_action_is_unfolded_and_its_request_copied_as_sql(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}?table=todo")
    action = visit.page.locator(".bemi-action", has_text="created todo Buy oat milk and bread").last
    assert action.locator(".bemi-rows").is_hidden()
    action.locator("summary").click()
    assert "Buy milk and bread" in action.locator(".bemi-rows").inner_text()
    visit.follow(visit.page.locator(".bemi-chip", has_text="todos"))
    visit.page.keyboard.press("j")
    assert visit.page.locator(".bemi-action .bemi-when a:focus").count() == 1
    # What other tests have done since may fill the page of all changes.
    visit.goto(f"{LIST}?table=todo")
    action = visit.page.locator(".bemi-action", has_text="created todo Buy oat milk and bread").last
    action.locator("summary").click()
    visit.follow(action.get_by_role("link", name="Whole request"))
    visit.page.get_by_role("button", name="Copy all as SQL").click()
    visit.page.get_by_text("Copied").wait_for()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("BEGIN;") and 'INSERT INTO "public"."todo"' in copied
    visit.follow(visit.page.locator(".bemi-trace").get_by_role("link", name="/api/mail/"))
    visit.page.go_back()
    visit.follow(visit.page.locator(".bemi-known").get_by_role("link", name="POST", exact=True))
    assert "method" in visit.page.locator(".bemi-chip").inner_text()


def test_a_stored_script_stays_text(visit: Visitor, story: None) -> None:
    for path in (LIST, f"{LIST}?view=rows&q=pk:3", f"{LIST}timeline/todos/todo/3/", f"{LIST}activity/"):
        visit.goto(path)
        assert visit.page.title() != "run"
    visit.goto(f"{LIST}timeline/todos/todo/3/")
    assert EVIL in visit.page.locator("#content-main").inner_text()
    visit.follow(visit.page.locator(".bemi-when a").first)
    assert visit.page.locator(".bemi-after").filter(has_text=EVIL).count() == 1
    assert visit.page.title() != "run"


def test_a_change_is_copied(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}?view=rows&table=todo&operation=UPDATE")
    visit.follow(visit.page.locator(".bemi-when a").first)
    visit.page.get_by_role("button", name="Copy as JSON").click()
    visit.page.get_by_text("Copied").wait_for()
    copied = json.loads(visit.page.evaluate("navigator.clipboard.readText()"))
    assert copied["operation"] == "UPDATE"
    visit.page.get_by_role("button", name="Copy as SQL").click()
    until(
        lambda: visit.page.evaluate("navigator.clipboard.readText()").startswith('UPDATE "public"."todo"'),
        why=lambda: "the SQL is not copied",
    )


def test_an_object_s_history_is_one_click_from_its_form(visit: Visitor, story: None) -> None:
    visit.goto("/admin/todos/todo/1/change/")
    visit.follow(visit.page.get_by_role("link", name="History").last)
    assert re.search(r"timeline/todos/todo/1/$", visit.page.url)
    assert "oat milk" in visit.page.locator(".bemi-now").inner_text()
    # What was done stands beside its time.
    parts = (visit.page.locator(f".bemi-step .bemi-{name}").first.bounding_box() for name in ("when", "body"))
    when, body = ((box["x"], box["y"]) for box in parts)
    assert abs(when[1] - body[1]) < 8 and body[0] > when[0] + 100
    visit.page.fill("#timeline-at", "2020-01-01T00:00:00")
    visit.submit("Show")
    assert visit.page.get_by_text("The object did not exist at that time.").is_visible()


def test_the_name_of_a_field_leads_to_its_history(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}timeline/todos/todo/1/")
    visit.follow(visit.page.locator(".bemi-change").get_by_role("link", name="task", exact=True).first)
    cells = visit.page.locator(".bemi-field-history tbody td:first-child").all_inner_texts()
    assert cells[0] == "Buy oat milk and bread" and cells[-1] == "Buy milk and bread"


def test_a_deleted_object_is_restored_and_a_change_reverted(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}deleted/")
    visit.follow(visit.page.locator("tr", has_text="Water the plants").get_by_role("link", name="Restore"))
    visit.submit("Restore the object")
    assert visit.page.get_by_text("1 row reverted.").is_visible()
    assert visit.page.get_by_role("link", name="Undo", exact=True).is_visible()
    assert "/deleted/" in visit.page.url
    assert visit.site.execute("SELECT count(*) FROM todo WHERE task = 'Water the plants'") == [(1,)]
    visit.goto(f"{LIST}?view=rows&table=todo&q=is_completed:true&operation=UPDATE")
    visit.follow(visit.page.locator(".bemi-when a").first)
    visit.follow(visit.page.get_by_role("link", name="Put back is completed"))
    visit.page.fill("#revert-reason", "The bank does not answer")
    visit.page.uncheck("#field-1")
    assert visit.page.get_by_role("button", name="Put back the chosen fields", exact=True).is_visible()
    visit.page.check("#field-1")
    visit.submit("Set is completed to no")
    assert visit.site.execute("SELECT is_completed FROM todo WHERE id = 2") == [(False,)]
    visit.site.execute("UPDATE todo SET is_completed = true WHERE id = 2")
    visit.site.execute("DELETE FROM todo WHERE task = 'Water the plants'")


@pytest.mark.parametrize(("label", "start"), [("CSV", b"id,database"), ("JSON Lines", b'{"id"')])
def test_the_list_is_exported(visit: Visitor, story: None, label: str, start: bytes) -> None:
    visit.goto(f"{LIST}?view=rows&table=todo")
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name=label, exact=True).click()
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(start)
    assert len(content.splitlines()) >= 7


def test_the_health_page_says_that_the_worker_runs_and_stays_current(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}health/")
    worker = visit.page.locator(".bemi-fact", has=visit.page.get_by_text("Worker", exact=True))
    assert worker.inner_text().split() == ["Worker", "running"]
    assert "public.todo" in visit.page.get_by_role("table", name="default").inner_text()
    # As if ten seconds had passed.
    visit.page.evaluate("refresh(document.querySelector('[data-bemi-refresh]'))")
    visit.page.locator("figcaption", has_text="Bytes behind the WAL").wait_for()


def test_who_did_what_is_a_page(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}?view=rows&table=todo&operation=CREATE")
    visit.follow(visit.page.locator("td.bemi-who a", has_text=LOGIN).first)
    assert "todos" in visit.page.locator("section", has_text="Tables").locator(".bemi-shares").inner_text()
    assert visit.page.locator("svg .bemi-bar").count() > 0
    visit.page.locator("summary", has_text="The same as a table").click()
    visit.follow(visit.page.locator(".bemi-numbers a").last)
    assert visit.page.locator(".bemi-chip").count() > 1


#: Buttons that look like text: without room, or without a border and a background.
NAKED = """[...document.querySelectorAll('.bemi :is(button, .bemi-button, [type=submit])')]
    .filter((e) => e.checkVisibility())
    .filter((e) => {
        const style = getComputedStyle(e);
        const isBare = style.borderTopWidth === '0px' && style.backgroundColor === 'rgba(0, 0, 0, 0)';
        return parseFloat(style.paddingLeft) < 4 || isBare;
    }).map((e) => e.outerHTML)"""


#: What lies above the first or the last word of an element.
COVERED = """(e) => {
    const text = document.createRange();
    text.selectNodeContents(e);
    const boxes = [...text.getClientRects()];
    return [boxes.at(0), boxes.at(-1)]
        .flatMap((box) => [box.left + 2, box.right - 2].map((x) => [x, (box.top + box.bottom) / 2]))
        .map(([x, y]) => document.elementFromPoint(x, y))
        .filter((above) => !e.contains(above)).map((above) => above?.outerHTML.slice(0, 200));
}"""


#: Pages with all kinds of parts.
THEMED = [
    "actions",
    "rows",
    "actions-refused",
    "activity",
    "deleted",
    "travel",
    "health",
    "timeline",
    "views",
]
THEMED += ["timeline-compared", "field-history", "request", "change", "revert"]


@pytest.mark.parametrize("theme", ["unfold", "jazzmin"])
def test_it_is_at_home_in_other_themes(
    theme: str, site: Site, browser: Any, session: Any, story: None, tmp_path: Path
) -> None:
    optional(theme)
    with serving(site.database_url, f"tests.support.{theme}_settings") as themed:
        context = browser.new_context(viewport={"width": 1280, "height": 860}, storage_state=session)
        visitor = Visitor(context.new_page(), themed, Path(PICTURES) if PICTURES else tmp_path)
        for page in THEMED:
            visitor.goto(address(visitor, page))
            assert visitor.page.locator(".bemi-tabs").is_visible(), page
            assert visitor.page.evaluate(NAKED) == [], page
        visitor.goto("/admin/bemi_django/alertrule/add/")
        border = "(e) => getComputedStyle(e).borderTopWidth"
        assert visitor.page.locator("#id_name").evaluate(border) != "0px"
        visitor.goto(LIST)
        visitor.picture(theme)
        ink = "(e) => getComputedStyle(e).getPropertyValue('--b-fg').trim()"
        assert visitor.page.locator(".bemi").evaluate(ink)
        visitor.goto("/admin/todos/todo/1/change/")
        visitor.goto(visitor.page.locator("a[href$='/1/history/']").first.get_attribute("href"))
        assert visitor.page.url.endswith("timeline/todos/todo/1/")
        visitor.goto("/admin/todos/todo/")
        assert visitor.page.locator("a[href$='?table=todo']").first.is_visible()
        visitor.goto(address(visitor, "change"))
        visitor.submit("Look at the site just before this")
        assert visitor.page.locator(".bemi-past p").first.evaluate(COVERED) == []
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_in_every_width_scheme_and_language(visit: Visitor, story: None, name: str) -> None:
    path = address(visit, name)
    if name.startswith("past-"):
        visit.goto(address(visit, "change"))
        visit.submit("Look at the site just before this")
    found, pictures = [], {}
    for look in looks(visit, path):
        found += problems(visit.page, look)
        if PICTURES:
            pictures[look] = visit.page.screenshot(animations="disabled", type="jpeg", quality=80)
    if PICTURES:
        sheet(visit, name, pictures)
    assert found == []
    # An answer with an error is what the page is about.
    visit.complaints = [one for one in visit.complaints if "400" not in one and "'data:,'" not in one]


PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize(
    "visit", [{}, {"viewport": PHONE, "color_scheme": "dark"}], indirect=True, ids=["wide", "phone-dark"]
)
def test_from_a_change_one_looks_at_the_site_just_before_it(visit: Visitor, story: None) -> None:
    axe = optional("axe_core_python.sync_playwright").Axe()
    row = visit.site.execute(
        "SELECT id FROM changes WHERE \"table\" = 'todo' AND operation = 'UPDATE' ORDER BY id LIMIT 1"
    )
    visit.goto(f"{LIST}{row[0][0]}/change/")
    visit.submit("Look at the site just before this")
    assert visit.page.locator(".field-task .readonly").inner_text() == "Buy milk and bread"
    assert visit.page.locator("#content-main [type=submit], .deletelink, .addlink").count() == 0
    visit.picture(f"past-admin-{visit.page.viewport_size['width']}")
    visit.goto("/")
    banner = visit.page.get_by_role("region", name="Time travel")
    assert "Everything is read-only." in banner.inner_text()
    assert "Buy milk and bread" in visit.page.inner_text("body")
    banner.locator("summary").click()
    visit.picture(f"past-site-{visit.page.viewport_size['width']}")
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = axe.run(visit.page, {"include": [["section.bemi-past"]]})
    assert found["passes"] and found["violations"] == []
    visit.page.fill("input[name=task]", "Too late")
    with visit.page.expect_navigation():
        visit.page.keyboard.press("Enter")
    assert visit.page.inner_text("h1") == "The past cannot be changed"
    found = axe.run(visit.page)
    visit.picture(f"past-refused-{visit.page.viewport_size['width']}")
    assert found["passes"] and found["violations"] == []
    visit.submit("Back to the present")
    visit.goto("/")
    assert "Buy oat milk and bread" in visit.page.inner_text("body")
    assert visit.page.get_by_role("region", name="Time travel").count() == 0
    # The browser reports answers that are errors, and the empty icon of the sample project.
    visit.complaints = [one for one in visit.complaints if "405" not in one and "'data:,'" not in one]


@pytest.mark.parametrize("visit", [{"color_scheme": "dark"}], indirect=True, ids=["dark"])
def test_dark_mode_follows_the_admin(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}?view=rows&table=todo&operation=UPDATE")
    visit.follow(visit.page.locator(".bemi-when a").last)
    ink = visit.page.locator(".bemi-head h2").evaluate("(e) => getComputedStyle(e).color")
    assert [int(part) > 200 for part in re.findall(r"\d+", ink)[:3]] == [True] * 3


def test_it_works_by_keyboard(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}?view=rows")
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("pk:1")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**q=pk%3A1**")
    rows = visit.page.locator(".bemi-when a").evaluate_all("(all) => all.map((a) => a.pathname)")
    for key in "jjjk":
        visit.page.keyboard.press(key)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url(f"**{rows[1]}**")
    visit.page.keyboard.press("j")
    visit.page.wait_for_url(f"**{rows[2]}**")
    fold = visit.page.locator("summary", has_text="As JSON")
    fold.focus()
    visit.page.keyboard.press("Enter")
    assert visit.page.locator("#bemi-json").is_visible()
    visit.goto(f"{LIST}timeline/todos/todo/1/")
    visit.page.keyboard.press("j")
    assert visit.page.locator(".bemi-step:first-child .bemi-when a:focus").count() == 1


def test_a_page_that_has_found_nothing_yet_searches_on(visit: Visitor, story: None) -> None:
    """Two pages are those of a longer log."""
    unfinished = (
        '<p data-bemi-search="Searching">Nothing yet</p><a data-bemi-onward href="{}">Continue</a>'
        '<script src="/static/bemi_django/audit.js" defer></script>'
    )
    pages = {"q=first": "?q=second", "q=second": "?q=pk:1&view=rows", "q=away": "?q=nowhere"}

    def answer(route: Any) -> None:
        asked = route.request.url.rpartition("?")[2]
        following = pages.get(asked)
        if asked == "q=nowhere":
            route.abort()
        elif following:
            route.fulfill(content_type="text/html", body=unfinished.format(following))
        else:
            route.continue_()

    visit.page.route(re.compile("q="), answer)
    # It does not say for ever that it searches.
    visit.goto(f"{LIST}?q=away")
    visit.page.get_by_text("Nothing yet").wait_for()
    visit.goto(f"{LIST}?q=first")
    visit.page.wait_for_url(re.compile(r"q=pk:1&view=rows$"))
    assert visit.page.locator("tbody tr").count() > 0
    # Of the page that could not be fetched.
    visit.complaints.clear()


@pytest.mark.parametrize("visit", [{"java_script_enabled": False}], indirect=True, ids=["no-script"])
def test_it_works_without_scripts(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}?view=rows&table=todo&operation=UPDATE")
    assert visit.page.locator("tbody tr").count() >= 2
    visit.follow(visit.page.locator(".bemi-when a").first)
    assert visit.page.get_by_role("button", name="Copy as JSON").count() == 0
    visit.page.locator("summary", has_text="As JSON").click()
    assert visit.page.locator("#bemi-json").is_visible()


@pytest.mark.parametrize(
    "visit", [{"java_script_enabled": False}, {"viewport": PHONE, "color_scheme": "dark"}], indirect=True
)
def test_a_view_is_saved_and_the_list_begins_with_it(visit: Visitor, story: None) -> None:
    visit.goto(f"{LIST}?operation=DELETE&table=todo")
    unfold_filters(visit)
    visit.page.locator("summary", has_text="Save this view").focus()
    visit.page.keyboard.press("Enter")
    visit.page.get_by_label("Name", exact=True).fill("Todos that are gone")
    visit.page.get_by_label("My list begins with it").check()
    look(visit, "save-view")
    visit.submit("Save")
    assert visit.page.get_by_text("The view “Todos that are gone” was saved.").is_visible()
    visit.goto(LIST)
    assert visit.page.locator(".bemi-views [aria-current]").inner_text() == "Todos that are gone"
    assert visit.page.locator(".bemi-action").count() > 0
    visit.follow(visit.page.get_by_role("link", name="All changes", exact=True))
    assert visit.page.locator(".bemi-chip").count() == 0
    visit.follow(visit.page.get_by_role("link", name="Manage views"))
    visit.page.locator("summary", has_text="Edit").click()
    visit.page.locator("summary", has_text="Delete").click()
    look(visit, "views")
    alert_of_view(visit, "Todos that are gone")
    visit.goto(f"{LIST}views/")
    visit.page.locator("summary", has_text="Edit").click()
    visit.page.locator("summary", has_text="Delete").click()
    visit.submit("Delete the view")
    assert visit.page.get_by_text("No views are saved.").is_visible()


def alert_of_view(visit: Visitor, name: str) -> None:
    """Make a rule of a saved view, try it out, rename it, switch it off and delete it."""
    visit.follow(visit.page.get_by_role("link", name="Alert me of changes like these"))
    assert visit.page.input_value("#id_name") == name
    assert "operation=DELETE" in visit.page.input_value("#id_filter")
    visit.page.select_option("#id_channel", "mail")
    visit.page.fill("#id_recipients", "ann@example.com")
    look(visit, "alert-new")
    visit.submit("Save")
    visit.follow(visit.page.locator("#result_list").get_by_role("link", name=name))
    visit.submit("Send a test")
    assert visit.page.get_by_text("The mail was sent.").is_visible()
    visit.page.fill("#id_name", "Todos that went")
    visit.page.uncheck("#id_is_active")
    look(visit, "alert-rule")
    visit.submit("Save")
    rule = visit.page.locator("#result_list tbody tr")
    assert rule.locator("img[alt=False]").count() == 1
    look(visit, "alert-rules")
    visit.follow(rule.get_by_role("link", name="Todos that went"))
    visit.follow(visit.page.get_by_role("link", name="See what it matches"))
    assert visit.page.locator(".bemi-chip", has_text="Operation").is_visible()
    visit.page.go_back()
    visit.follow(visit.page.get_by_role("link", name="Delete", exact=True))
    visit.follow(visit.page.locator("#content [type=submit]"))
    assert visit.page.get_by_text("There are no rules.").is_visible()


def unfold_filters(visit: Visitor) -> None:
    """Find the filters folded on a telephone, where the list comes first, and open elsewhere."""
    is_phone = visit.page.viewport_size == PHONE
    operation, first = visit.page.locator("#filter-operation"), visit.page.locator(".bemi-action").first
    assert visit.page.locator(".bemi-chip", has_text="Operation").is_visible()
    assert first.bounding_box()["y"] < 640
    assert operation.is_visible() is not is_phone
    if is_phone:
        visit.page.locator("summary", has_text="Filters").focus()
        visit.page.keyboard.press("Enter")
        assert operation.is_visible()
    assert operation.input_value() == "DELETE"


def look(visit: Visitor, name: str) -> None:
    """Take a picture of a page with open parts; nothing of it is cut or refused by axe."""
    visit.picture(f"{name}-{visit.page.viewport_size['width']}")
    width = visit.page.viewport_size["width"]
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    # It is a script, which does not run where there are none.
    if width == PHONE["width"]:
        axe = optional("axe_core_python.sync_playwright").Axe()
        found = axe.run(visit.page, {"include": [["#content-main"]]})
        assert found["passes"] and found["violations"] == []
