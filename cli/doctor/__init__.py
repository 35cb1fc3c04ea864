"""`leeway doctor`: which parts of the stack answer, which signals arrive, and what to do if they don't."""
