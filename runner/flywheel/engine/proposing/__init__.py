"""`flywheel modes`: failures that the taxonomy left to its fallback, in groups, each with a predicate that tells it."""
