"""The references: every exercise of the course, solved. Try first; then compare."""
