"""The deployed model behind OpenAI's protocol: `flywheel serve`."""
