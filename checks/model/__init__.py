"""Is a model good enough to serve? One file for each family of rules, and `gate` for them all.

Every check fails closed: it never raises, what cannot be judged is `Status.ERROR`, and a
report that holds an error does not pass.
"""
