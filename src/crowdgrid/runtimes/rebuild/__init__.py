"""Makes a function again of the document it travelled as.

`compiling` turns lines of source into a code object, `making` makes the graph of nodes, `homes` gives functions the
globals they had, `bundle` serves modules that travelled whole, `raised` describes what a call raised.
"""
