"""Which cells are stuck, by integer arithmetic alone."""
