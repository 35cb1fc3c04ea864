"""Names, providers, instruments and logs; independent of the domain."""
