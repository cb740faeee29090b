"""Fine-tune a BERT, with or without pruning gates."""
