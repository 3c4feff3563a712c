from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from bemi_django.models import Change
from sample_project.todos import raw_sql, sqlalchemy_edit
from sample_project.todos.forms import TodoForm
from sample_project.todos.models import Tag, Todo

HISTORY_LENGTH = 50
HISTORY_TABLES = [Todo._meta.db_table, Tag._meta.db_table, Todo.tags.through._meta.db_table]


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def todo_list(request: HttpRequest) -> HttpResponse:
    form = TodoForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        todo = form.save(commit=False)
        todo.owner_id = request.user.pk
        todo.save()
        messages.success(request, f"Added “{todo.task}”.")
        return redirect("todos:list")
    todos = list(_own(request).prefetch_related("tags"))
    open_count = sum(not todo.is_completed for todo in todos)
    context = {
        "form": form,
        "todos": todos,
        "open_count": open_count,
        "completed_count": len(todos) - open_count,
    }
    return render(request, "todos/list.html", context)


@login_required
@require_POST
def complete(request: HttpRequest, pk: int) -> HttpResponse:
    todo = get_object_or_404(_own(request), pk=pk)
    todo.is_completed = True
    todo.save(update_fields=["is_completed"])
    messages.success(request, f"Completed “{todo.task}”.")
    return redirect("todos:list")


@login_required
@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    todo = get_object_or_404(_own(request), pk=pk)
    todo.delete()
    messages.success(request, f"Deleted “{todo.task}”.")
    return redirect("todos:list")


@login_required
@require_POST
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    todo = get_object_or_404(_own(request), pk=pk)
    form = TodoForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Not renamed: {form.errors['task'][0]}")
        return redirect("todos:list")
    task = form.cleaned_data["task"]
    try:
        sqlalchemy_edit.rename(todo.pk, task)
    except sqlalchemy_edit.AldjemyMissingError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Renamed “{todo.task}” to “{task}”.")
    return redirect("todos:list")


@login_required
@require_POST
def clear_completed(request: HttpRequest) -> HttpResponse:
    count = raw_sql.clear_completed(request.user.pk)
    messages.success(request, f"Cleared {count} completed.")
    return redirect("todos:list")


@login_required
@require_GET
def history(request: HttpRequest) -> HttpResponse:
    changes = Change.objects.filter(table__in=HISTORY_TABLES).order_by("-id")
    if not request.user.is_staff:
        own = Q(before__owner_id=request.user.pk) | Q(after__owner_id=request.user.pk)
        changes = changes.filter(own)
    return render(request, "todos/history.html", {"changes": changes[:HISTORY_LENGTH]})


def _own(request: HttpRequest) -> QuerySet[Todo]:
    todos: QuerySet[Todo] = Todo.objects.filter(owner_id=request.user.pk)
    return todos
