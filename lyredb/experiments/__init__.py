"""Experiments: the database at work on real data. `lyredb demo` runs `lyredb.experiments.flights`."""
