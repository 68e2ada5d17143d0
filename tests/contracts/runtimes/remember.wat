;; Prints "fresh" if its memory and its global are as it began, else "stale", and changes both.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $runs (mut i32) (i32.const 0))
  (data (i32.const 64) "freshstale")
  (data (i32.const 0) "\40\00\00\00\05\00\00\00")
  (func (export "_start")
    (if (i32.or (global.get $runs) (i32.load (i32.const 4096))) (then (i32.store (i32.const 0) (i32.const 69))))
    (global.set $runs (i32.const 1))
    (i32.store (i32.const 4096) (i32.const 1))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
