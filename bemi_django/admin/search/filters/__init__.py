"""The parts of the filter form: its fields, and the query that it describes."""
