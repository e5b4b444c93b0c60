"""Models on suites, and two of them side by side."""
