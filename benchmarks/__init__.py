"""How much faster the app is than the plain way: ratios, measured in one run."""
