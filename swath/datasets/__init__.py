"""Data sets as declarations: a layout, the classes in order and a split, all read by one generic loader."""
