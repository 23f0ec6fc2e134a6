"""The page of a task: its heading and buttons, and the tabs with all that belongs to the task."""
