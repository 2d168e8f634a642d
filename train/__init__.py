"""Training, evaluation and export of the models that the app shows."""

import os

# stop TensorFlow from reporting its build and missing GPUs; it reads this on import
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
