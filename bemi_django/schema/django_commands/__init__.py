"""What the commands of Django do to the schema: ``migrate``, and ``inspectdb``, which must not see it."""
