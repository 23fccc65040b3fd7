"""Checking what a learner wrote: what checks are written with, how they are run, and what is said of them."""
