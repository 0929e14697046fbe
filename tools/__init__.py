"""Commands for maintainers; nothing here is installed."""
