"""The page that changes many tasks at once: what to change, a preview, then the changes."""
