"""How: plain functions that make data, splits, trials, models and predictions."""
