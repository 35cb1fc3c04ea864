"""The stack of compose.yaml under load: for `benchmarks.soak` and the tests of the live stack."""
