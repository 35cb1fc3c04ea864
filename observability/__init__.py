"""The configuration of what watches Leeway, and the code that generates parts of it."""
