"""From scene to map: plan, read ahead, predict in batches, stitch, write; all of it streaming.

`run` is the door; `options` says what may be chosen, `dense` and `objects` join windows, `sinks` write.
"""
