;; Wants 64 MB of memory from the start.
(module
  (memory (export "memory") 1024)
  (func (export "_start")))
