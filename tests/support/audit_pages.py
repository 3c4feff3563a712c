"""All pages of the audit view, and how each of them looks: widths, schemes and languages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.support.browser import optional
from tests.support.visitor import Visitor

LIST = "/admin/bemi_django/change/"
HEIGHT = 844

#: Addresses by the names of the pages; a name in braces stands for what the log has.
PAGES = {
    "actions": LIST,
    "actions-filtered": f"{LIST}?table=todo&operation=DELETE&since=2020-01-01&outside=on",
    "actions-nothing-found": f"{LIST}?q=nothing%20like%20this",
    "actions-refused": f"{LIST}?q={{&since=2020-02-30&user=nobody",
    "rows": f"{LIST}?view=rows",
    "rows-raw": f"{LIST}?view=rows&raw",
    "export-refused": f"{LIST}export/?format=nope",
    "change": f"{LIST}{{update}}/change/",
    "change-created": f"{LIST}{{create}}/change/",
    "timeline": f"{LIST}timeline/todos/todo/1/",
    "timeline-at": f"{LIST}timeline/todos/todo/1/?at=2020-01-01T00:00:00",
    "timeline-compared": f"{LIST}timeline/todos/todo/1/?and=2020-01-01T00:00:00",
    "field-history": f"{LIST}timeline/todos/todo/1/?field=task",
    "revert": f"{LIST}revert/?change={{update}}",
    "revert-conflict": f"{LIST}revert/?change={{create}}",
    "revert-transaction": f"{LIST}revert/?transaction={{tags}}",
    "request": f"{LIST}request/?id={{request}}",
    "transaction": f"{LIST}transaction/{{tags}}/",
    "activity": f"{LIST}activity/",
    "activity-of-one": f"{LIST}activity/?user=demo",
    "deleted": f"{LIST}deleted/",
    "health": f"{LIST}health/",
    "views": f"{LIST}views/",
    "archive": f"{LIST}archive/",
    "travel": f"{LIST}travel/",
    "alert-rules": "/admin/bemi_django/alertrule/",
    "alert-rule": "/admin/bemi_django/alertrule/add/",
    "past-admin": "/admin/todos/todo/1/change/",
    "past-site": "/",
}
#: The table and the operation of changes: the first one of each is meant.
_STORED = {"update": ("todo", "UPDATE"), "create": ("todo", "CREATE"), "tags": ("todo_tags", "CREATE")}
_FIRST = 'SELECT id::text FROM changes WHERE "table" = %s AND operation = %s ORDER BY id LIMIT 1'


class Look(NamedTuple):
    """How a page is looked at."""

    language: str
    width: int
    scheme: str

    @property
    def is_examined(self) -> bool:
        """Whether axe examines it: each width in each scheme, and once from right to left.

        Otherwise, another language has other words only.
        """
        return self.language == "en" or self == Look("ar", 390, "dark")

    @property
    def is_whole(self) -> bool:
        """Whether axe follows all of its rules: with the other scheme, only colours differ."""
        return self.scheme == "light" or self.language == "ar"


def address(visit: Visitor, name: str) -> str:
    """Return the address of a page."""
    found = {key: visit.site.execute(_FIRST, kind)[0][0] for key, kind in _STORED.items()}
    request = "SELECT context ->> 'request_id' FROM changes WHERE id = %s"
    found["request"] = visit.site.execute(request, [found["create"]])[0][0]
    text = PAGES[name]
    for key, value in found.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def looks(visit: Visitor, path: str) -> Iterator[Look]:
    """Show a page in all languages, widths and schemes, loaded once for each language."""
    every = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
    for language in ("en", "de", "ar"):
        visit.page.set_extra_http_headers({"Accept-Language": language})
        for number, (width, scheme) in enumerate(every):
            visit.page.set_viewport_size({"width": width, "height": HEIGHT})
            visit.page.emulate_media(color_scheme=scheme)
            if not number:
                visit.goto(path)
            # Colours fade into those of the other scheme: axe would see what is half of both.
            visit.page.evaluate("document.getAnimations().forEach(each => each.finish())")
            yield Look(language, width, scheme)


def problems(page: Any, look: Look) -> list[str]:
    """Return what is wrong with a page: what is cut, what is in another direction, and what axe finds."""
    # Where the parts of a page are does not depend on their colours.
    found = _misplaced(page, look) if look.scheme == "light" else []
    if look.is_examined:
        found += _violations(page, None if look.is_whole else _OF_COLOURS)
    return [f"{look.language}, {look.width} px, {look.scheme}: {problem}" for problem in found]


def _violations(page: Any, rules: list[str] | None) -> list[str]:
    """Return what axe finds. It is run by the driver: the policy of the site is no matter of the check."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(optional("axe_core_python.sync_playwright").Axe().axe_script)
    found, passed = page.evaluate(_EXAMINE, {"runOnly": rules} if rules else {})
    # A page with nothing but the colours of a form has few of them.
    assert passed or rules, "nothing was looked at"
    return list(found)


def _misplaced(page: Any, look: Look) -> list[str]:
    beyond, is_sideways, shown = page.evaluate(_MEASURE)
    found = [f"beyond the window: {html}" for html in beyond]
    if is_sideways:
        found.append("it scrolls sideways")
    if shown != [look.language, "rtl" if look.language == "ar" else "ltr"]:
        found.append(f"it is in {shown}")
    return found


def sheet(visit: Visitor, name: str, pictures: Mapping[Look, bytes]) -> None:
    """Keep one picture of a page that shows it in all languages, widths and schemes."""
    shown = [
        f'<img width="{320 if look.width > 400 else 195}" alt="" '
        f'src="data:image/jpeg;base64,{b64encode(content).decode()}">'
        for look, content in sorted(pictures.items(), key=lambda one: (one[0].width, one[0].language))
    ]
    page = visit.page.context.new_page()
    page.set_viewport_size({"width": 2000, "height": 100})
    rows = "".join(f"<p>{''.join(row)}</p>" for row in (shown[:6], shown[6:]))
    page.set_content(f"{_SHEET}{rows}")
    visit.keep(f"pages/{name}.jpeg", page.screenshot(full_page=True, type="jpeg", quality=60))
    page.close()


#: The upper part of each picture, side by side.
_SHEET = """<style>
p { display: flex; gap: 8px; align-items: start; margin: 8px; }
img { flex: none; border: 1px solid #888; }
</style>"""


#: The part of a page that is of the package: of pages of the site, that is the banner.
_MAIN = "['.bemi-past', '#content-main'].find((part) => document.querySelector(part))"
#: Parts of a page that stick out of the window, or moments out of their column, unless they are scrolled;
#: whether the page scrolls sideways; its language and direction.
_MEASURE = f"""() => {{
    const main = {_MAIN};
    const beyond = [...document.querySelectorAll('.bemi *, .bemi-past *')]
        .filter((e) => !e.closest('pre, .bemi-hidden, svg') && e.checkVisibility())
        .filter((e) => {{
            const box = e.getBoundingClientRect();
            const isCut = e.matches('.bemi-when') && e.scrollWidth > e.clientWidth + 1;
            return box.width && (box.right > innerWidth + 1 || box.left < -1 || isCut);
        }}).slice(0, 5).map((e) => e.outerHTML.slice(0, 200));
    const isSideways = main !== '.bemi-past' && document.documentElement.scrollWidth > innerWidth;
    const shown = document.querySelector(main);
    return [beyond, isSideways, [shown.closest('[lang]').lang, getComputedStyle(shown).direction]];
}}"""

#: Rules whose answers depend on the scheme.
_OF_COLOURS = ["color-contrast", "link-in-text-block"]
#: What axe finds, and the number of rules that a page follows. What is folded keeps the colours of the scheme
#: in which it was folded, so it is unfolded; and colours take a moment to come to those of the scheme.
_EXAMINE = f"""async (options) => {{
    const folded = [...document.querySelectorAll('details:not([open])')];
    folded.forEach((one) => {{ one.open = true; }});
    await new Promise(requestAnimationFrame);
    await Promise.all(document.getAnimations().map((one) => one.finished));
    const part = {{include: [[{_MAIN}]]}};
    const {{violations, passes}} = await axe.run(part, {{resultTypes: ['violations'], ...options}});
    folded.forEach((one) => {{ one.open = false; }});
    const told = ({{id, nodes}}) => nodes.map((node) => `${{id}}: ${{node.html}} ${{node.failureSummary}}`);
    return [violations.flatMap(told), passes.length];
}}"""
