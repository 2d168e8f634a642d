"""Frame to Plotly figure, pure, in one style. May import what computes the frames, never Streamlit."""
