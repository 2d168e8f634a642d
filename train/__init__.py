"""Training, evaluation and export of the models that the app shows."""
