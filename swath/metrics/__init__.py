"""How predictions are compared with truth: one file a kind, every switch of the arithmetic stated."""
