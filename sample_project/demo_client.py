"""The browser of the demo: real HTTP requests with cookies and CSRF tokens."""

from __future__ import annotations

import json
from http.client import HTTPException, HTTPResponse
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, ProxyHandler, Request, build_opener

from sample_project.demo_processes import DemoError

TIMEOUT_SECONDS = 15
LOGIN = "/accounts/login/"


class SiteClient:
    """One visitor of the site at *base_url*."""

    def __init__(self, base_url: str, login: str = LOGIN) -> None:
        self._base_url = base_url
        self._login = login
        self._cookies = CookieJar()
        # No proxy of the environment between the demo and the loopback address.
        self._opener: OpenerDirector = build_opener(ProxyHandler({}), HTTPCookieProcessor(self._cookies))

    def is_up(self) -> bool:
        try:
            self._opener.open(self._base_url + self._login, timeout=TIMEOUT_SECONDS).close()
        except HTTPError as error:
            raise DemoError(f"GET {self._login} answered {error.code}") from error
        except (OSError, HTTPException):
            return False
        return True

    def log_in(self, username: str, password: str) -> None:
        self._send("GET", self._login)
        url, _ = self.submit(self._login, username=username, password=password)
        if self._login in url:
            raise DemoError(f"cannot log in as {username!r} with the demo's password; use another database")

    def submit(self, path: str, **fields: str) -> tuple[str, str]:
        """Submit a form as the page does; return the address and the text of the next page."""
        body = urlencode({"csrfmiddlewaretoken": self._csrf_token(), **fields}).encode()
        return self._send("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def api(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """Send JSON and return the JSON of the answer."""
        headers = {"Content-Type": "application/json", "X-CSRFToken": self._csrf_token()}
        data = None if body is None else json.dumps(body).encode()
        _, text = self._send(method, path, data, headers)
        answer: dict[str, Any] = json.loads(text) if text else {}
        return answer

    def _send(
        self, method: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[str, str]:
        request = Request(self._base_url + path, data, headers or {}, method=method)
        try:
            response: HTTPResponse
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return response.geturl(), response.read().decode()
        except HTTPError as error:
            raise DemoError(f"{method} {path} answered {error.code}") from error
        except (URLError, OSError, HTTPException) as error:
            raise DemoError(f"{method} {path}: {error}") from error

    def _csrf_token(self) -> str:
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == "csrftoken"), "")
