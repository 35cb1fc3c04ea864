"""Predictions of any service, read where they are: a table in a database, or Parquet files. Nothing is written."""
