"""Work recognised while it runs, and settings for it."""
