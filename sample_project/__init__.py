"""A to-do list whose every row change is recorded by bemi_django."""
