"""Training, evaluation and export of the models that the app shows."""

import os

# TensorFlow reports on its own build and on GPUs it does not find; it reads this when it is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
