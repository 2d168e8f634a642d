"""Fitting networks: stages, augmentation, losses, cross-validation, patient metadata."""
