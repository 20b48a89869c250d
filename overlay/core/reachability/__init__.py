"""Where we are, as others see it, and whether strangers reach us there."""
