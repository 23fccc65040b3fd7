"""Training a model of the chapters: the recipes, the loop, and the files that a run leaves."""
