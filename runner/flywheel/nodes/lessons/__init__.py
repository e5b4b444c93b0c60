"""Lessons: where they come from, what makes a candidate one, which are trained on."""
