"""Exact, reproducible k-means with scikit-learn's interface."""
