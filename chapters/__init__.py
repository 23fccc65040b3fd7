"""Your code: the exercises of the course, one module per chapter. Each stub tells what is to be written."""
