"""How data sets lie on disk; each layout lists records and reads the truth of one."""
