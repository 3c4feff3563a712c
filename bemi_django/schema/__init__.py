"""What is put into the database: functions, triggers, the publication, indexes and rights."""
