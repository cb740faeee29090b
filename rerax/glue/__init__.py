"""The nine GLUE tasks: what they are, their examples in fixed-shape batches, their scores."""
