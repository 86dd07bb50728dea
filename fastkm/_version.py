"""The one place that states fastkm's version."""

__version__ = "0.1.0"
