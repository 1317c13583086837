"""The search for the best configuration within a budget of trials."""
