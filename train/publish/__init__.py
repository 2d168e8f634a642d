"""From a trained network to a model folder: evaluation, export, model card, and retrieval index."""
