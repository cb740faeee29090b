"""The hardware: geometry, codes, encodings, votes, keys. It knows no model."""
