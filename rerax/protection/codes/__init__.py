"""Error-correcting codes over the top bits of weights: their check bits, placement, decoding."""
