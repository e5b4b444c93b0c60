"""What a person sees in a terminal: plans, progress, outcomes. Nothing here decides anything."""
