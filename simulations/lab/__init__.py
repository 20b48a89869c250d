"""Real hosts and real kernel NATs on one machine, for the demo, benchmarks and tests."""
