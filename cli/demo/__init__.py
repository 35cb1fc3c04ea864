"""`leeway demo`: a story in acts on one machine, and the page that it leaves."""
