from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.core.exceptions import ValidationError

from sample_project.todos.models import Todo

if TYPE_CHECKING:
    # Only the type stubs make this class generic.
    TodoFormBase = forms.ModelForm[Todo]
else:
    TodoFormBase = forms.ModelForm


class TodoForm(TodoFormBase):
    """The task of a todo, validated alike for the page and the JSON endpoint."""

    class Meta:
        model = Todo
        fields = ("task",)

    def clean_task(self) -> str:
        task: str = self.cleaned_data["task"]
        if any("\ud800" <= character <= "\udfff" for character in task):
            raise ValidationError("Half of a surrogate pair is not text.")
        return task
