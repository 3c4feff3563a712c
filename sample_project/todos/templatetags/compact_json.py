from __future__ import annotations

import json

from django import template
from django.core.serializers.json import DjangoJSONEncoder

register = template.Library()


@register.filter
def compact_json(value: object) -> str:
    """Return *value* as JSON with a space after each separator, or a dash when it is empty."""
    if not value:
        return "–"
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
