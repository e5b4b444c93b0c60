"""One file a verb: what its node does."""
