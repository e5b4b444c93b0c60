"""`flywheel review`: what waits for people, the page on which they say a word, and the log that keeps it."""
