"""Grading a class: what was handed in is found and read with care, run in a box, and becomes one row for each.

The judge (`vitcourse.checking`) says what an answer is worth; here is all that a class brings with it.
"""
