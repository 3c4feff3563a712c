"""Months of the log as Parquet files: written, read back, asked and brought back."""
