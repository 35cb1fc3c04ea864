"""The database: snapshots, predictions, labels, rejections and drift runs."""
