"""`leeway doctor`: what of the stack answers, which signals arrive, and what to do where they don't."""
