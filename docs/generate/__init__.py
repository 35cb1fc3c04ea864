"""What of the documentation is made from the code: references of metrics and settings, pictures of the structure."""
