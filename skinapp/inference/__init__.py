"""Lists, checks and runs models: registry, LiteRT runtime, scoring of many images, modality, patient metadata, similar
cases. May import `skinapp.images`, `skinapp.datasets` and everything that they may import. Never imports TensorFlow.
"""
