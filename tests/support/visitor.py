"""A person at a page of the site in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.browser import Site


class Visitor:
    """A page, and what went wrong on it."""

    def __init__(self, page: Any, site: Site, pictures: Path) -> None:
        self.page = page
        self.site = site
        self._pictures = pictures
        self.complaints: list[str] = []
        self.clicks = 0
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._heard(message))

    def _heard(self, message: Any) -> None:
        # A browser asks every site for an icon.
        if message.type == "error" and "favicon" not in str(message.location):
            self.complaints.append(message.text)

    def goto(self, path: str) -> None:
        self.page.goto(f"{self.site.url}{path}")

    def picture(self, name: str) -> None:
        self.page.screenshot(path=self._pictures / f"{name}.png", animations="disabled")

    def keep(self, name: str, picture: bytes) -> None:
        """Keep a picture that was taken."""
        path = self._pictures / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)

    def click(self, link: Any) -> None:
        """Click, and be on the next page; count it."""
        self.clicks += 1
        self.follow(link)

    def click_here(self, element: Any) -> None:
        """Click, and stay on the page; count it."""
        self.clicks += 1
        element.click()

    def submit(self, text: str) -> None:
        self.follow(self.page.get_by_role("button", name=text, exact=True))

    def follow(self, link: Any) -> None:
        """Click, and be on the next page."""
        with self.page.expect_navigation():
            link.click()
