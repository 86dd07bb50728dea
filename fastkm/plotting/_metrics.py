"""What the metrics of tables are called, and which way is better."""

from __future__ import annotations

_TITLES = {
    "time": "Time of the fit",
    "seconds": "Time of the fit",
    "inertia": "Inertia",
    "homogeneity": "Homogeneity",
    "completeness": "Completeness",
    "v_measure": "V-measure",
    "ari": "Adjusted Rand index",
    "ami": "Adjusted mutual information",
    "silhouette": "Silhouette",
    "calinski_harabasz": "Calinski-Harabasz index",
    "davies_bouldin": "Davies-Bouldin index",
    "gap": "Gap statistic",
    "accuracy": "Accuracy by majority",
    "n_iter": "Rounds",
    "sq_shift": "Squared shift of the centroids",
    "n_changed": "Labels changed",
    "inertia_bound": "Upper bound on the inertia",
    "mean_inertia": "Mean inertia of the batch",
    "smoothed_inertia": "Mean inertia, smoothed",
}
LOWER_IS_BETTER = frozenset({"time", "seconds", "inertia", "davies_bouldin"})
HIGHER_IS_BETTER = frozenset(
    {
        "homogeneity", "completeness", "v_measure", "ari", "ami", "silhouette",
        "calinski_harabasz", "gap", "accuracy",
    }
)  # fmt: skip


def title_of(key: str) -> str:
    """Return a metric's name in words; an unknown one's key without underscores."""
    return _TITLES.get(key) or key.replace("_", " ").capitalize()


def better(key: str) -> str:
    """Return which way is better, in words; "" where that is not known."""
    if key in LOWER_IS_BETTER:
        return "lower is better"
    return "higher is better" if key in HIGHER_IS_BETTER else ""
