"""What `serve.py` adds to the app for those who host it: logs as JSON, counters for Prometheus, and the check that a
model answers. May import `skinapp.inference` and what that may import.
"""
