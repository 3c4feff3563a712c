"""Twenty people in groups with different permissions, and the sessions in which they work."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

#: People of each group; the first one is its lead.
TEAMS = {
    "Support": ("sara", "tom", "mia", "jonas", "lena", "paul"),
    "Merchandise": ("dana", "felix", "nora", "emil", "ida"),
    "Warehouse": ("otto", "ella", "anton", "greta"),
    "Security": ("vera", "karl"),
    "Management": ("maria",),
    "Development": ("dev", "root"),
}
#: Permissions of each group, by model; ``change`` is a row of the log.
_MAY = {
    "Support": {
        "customer": "view change",
        "order": "view change",
        "product": "view change",
        "change": "view revert",
    },
    "Merchandise": {"product": "view add change", "category": "view add change", "tag": "view add change"},
    "Warehouse": {"product": "view change", "order": "view change"},
    "Security": {"customer": "view", "order": "view", "product": "view", "user": "view", "change": "view"},
    "Management": {"customer": "view", "order": "view", "product": "view", "user": "view", "change": "view"},
    "Development": {},
}


def hire() -> None:
    """Create the groups and the people."""
    for team, names in TEAMS.items():
        group = Group.objects.create(name=team)
        wanted = [f"{action}_{model}" for model, actions in _MAY[team].items() for action in actions.split()]
        apps = ("store", "auth", "bemi_django")
        group.permissions.add(
            *Permission.objects.filter(content_type__app_label__in=apps, codename__in=wanted)
        )
        for name in names:
            user = User.objects.create_user(
                f"{team[:3].lower()}.{name}",
                f"{name}@store.example",
                "demo",
                first_name=name.title(),
                is_staff=True,
                is_superuser=team == "Development",
            )
            user.groups.add(group)


class Desks:
    """The browsers of the people, who log in each morning."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

    def log_in(self, username: str) -> None:
        number = 10 + len(self._clients)
        client: Any = Client(
            SERVER_NAME="localhost", REMOTE_ADDR=f"198.51.100.{number}", HTTP_USER_AGENT="Mozilla/5.0 (store)"
        )
        client.force_login(User.objects.get(username=username))
        self._clients[username] = client

    def of(self, username: str) -> Client:
        if username not in self._clients:
            self.log_in(username)
        return self._clients[username]

    def leave(self) -> None:
        """Close all browsers at the end of a day."""
        self._clients.clear()


def usernames(team: str) -> list[str]:
    return [f"{team[:3].lower()}.{name}" for name in TEAMS[team]]
