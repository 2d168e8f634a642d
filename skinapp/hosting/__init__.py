"""What `serve.py` adds to the app for hosting: JSON logs, counters for Prometheus, and the readiness check. May import
`skinapp.inference` and everything that it may import.
"""
