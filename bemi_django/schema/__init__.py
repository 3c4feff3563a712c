"""What is installed in the database: functions, triggers, the publication, indexes and rights."""
