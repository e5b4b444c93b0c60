"""Learning from the student's own judged answers: which questions, which pairs and groups, and what must not happen."""
