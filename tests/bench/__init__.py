"""`make bench`: what farebox costs, each number beside its floor from the same run."""
