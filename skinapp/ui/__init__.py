"""Streamlit components that several pages share. With `pages`, the only code that imports Streamlit."""
