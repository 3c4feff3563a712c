"""Write the log from the records of Debezium's connector for PostgreSQL."""
