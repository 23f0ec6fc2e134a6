"""My work, the first page of the admin: what a person has to do, and what happens around it."""
