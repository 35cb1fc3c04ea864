"""Report files, and the web page that shows them."""
