"""The API: answers requests and records what it answered."""
