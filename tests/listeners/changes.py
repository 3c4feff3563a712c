from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from bemi_django import on_change
from bemi_django.models import Change
from tests.shop.models import Category

HEARD = Path(os.environ["BEMI_TEST_HEARD"])


@on_change(Category, name="listener", retries=2)
def listen(change: Change) -> None:
    name = change.after["name"]
    is_first = name not in HEARD.read_text().splitlines()
    with HEARD.open("a") as file:
        file.write(f"{name}\n")
    if name.startswith("dies once") and is_first or name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "sleeps":
        time.sleep(3600)
    if name == "is slow":
        time.sleep(0.5)
