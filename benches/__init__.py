"""LyreDB beside other embedded stores, measured from Python: `python -m benches --help`."""
