"""The only room that knows both the plan and the store: planning, applying, looking back, rolling back."""
