"""The columns that tables of scores share: keys, headings, and how a value is written."""

from __future__ import annotations

from ._table import Column, write_ratio, write_seconds


def write_score(score: float) -> str:
    """Write a score of order 1 with three decimals."""
    return f"{score:.3f}"


def write_sum(value: float) -> str:
    """Write a value of any size: whole from 1000 on, else four significant digits."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def write_error(error: float) -> str:
    """Write a standard error with two significant digits."""
    return f"{error:.2g}"


NAME = Column("name", "estimator", is_text=True)
VARIANT = Column("variant", "by", is_text=True)
K = Column("k", "k")
TIME = Column("time", "time", write_seconds)
SPEEDUP = Column("speedup", "speedup", write_ratio)
INERTIA = Column("inertia", "inertia", write_sum)
ROUNDS = Column("rounds", "rounds", write_sum)
AGREEMENT = Column("agreement", "agreement", write_score)
SILHOUETTE = Column("silhouette", "silh.", write_score)
CALINSKI_HARABASZ = Column("calinski_harabasz", "Cal.-Har.", write_sum)
DAVIES_BOULDIN = Column("davies_bouldin", "Dav.-Bou.", write_score)
GAP = Column("gap", "gap", write_score)
GAP_SE = Column("gap_se", "gap s.e.", write_error)
HOMOGENEITY = Column("homogeneity", "homog.", write_score)
COMPLETENESS = Column("completeness", "compl.", write_score)
V_MEASURE = Column("v_measure", "V-meas.", write_score)
ARI = Column("ari", "ARI", write_score)
AMI = Column("ami", "AMI", write_score)
# Of any score against classes; `ACCURACY` grows with the number of clusters, and stands apart.
SUPERVISED = (HOMOGENEITY, COMPLETENESS, V_MEASURE, ARI, AMI)
ACCURACY = Column("accuracy", "acc.", write_score)
