"""Documents in HTML: a comparison of models, all models. May import everything but `skinapp.ui`."""
