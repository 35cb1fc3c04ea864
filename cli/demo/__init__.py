"""`leeway demo`: a story in six acts on one machine, and the page that shows it."""
