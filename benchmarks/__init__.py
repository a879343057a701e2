"""Benchmarks: each script runs the peer and us on the same work in turn and prints the ratio."""
