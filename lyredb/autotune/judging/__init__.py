"""Measures what automatic tuning is wanted to reach, and says what it reaches: behind `lyredb autotune judge`."""

from lyredb.autotune.judging.judgement import NEEDS, PARTS, Judgement, judge

__all__ = ["NEEDS", "PARTS", "Judgement", "judge"]
