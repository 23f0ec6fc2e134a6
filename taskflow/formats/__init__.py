"""How screens write days and times: one form for each language, which Django's filters use."""
