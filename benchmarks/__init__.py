"""Measurements. None of them asserts anything: numbers are for people to compare."""
