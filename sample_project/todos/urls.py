from __future__ import annotations

from django.urls import path

from sample_project.todos import api, views

app_name = "todos"

urlpatterns = [
    path("", views.todo_list, name="list"),
    path("history/", views.history, name="history"),
    path("todos/clear-completed/", views.clear_completed, name="clear_completed"),
    path("todos/<int:pk>/complete/", views.complete, name="complete"),
    path("todos/<int:pk>/delete/", views.delete, name="delete"),
    path("todos/<int:pk>/rename/", views.rename, name="rename"),
    path("api/todos/", api.todos, name="api_todos"),
    path("api/todos/<int:pk>/", api.todo, name="api_todo"),
]
