"""Tables from outside, and the synthetic population."""
