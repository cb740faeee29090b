"""BERT in Flax: configuration, model, Hugging Face conversion. Knows nothing of hardware."""
