"""The stubs as they were, to tell what a learner has started and to bring a stub back."""
