"""Parts of the benchmarks of the service: servers, load generators, tables and bounds."""
