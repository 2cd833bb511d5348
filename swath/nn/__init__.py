"""Network parts that three or more systems share."""
