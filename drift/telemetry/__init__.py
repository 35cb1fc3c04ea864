"""The events of the drift worker as metrics and spans."""
