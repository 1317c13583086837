"""Families of estimators: the contract, and one file a member."""
