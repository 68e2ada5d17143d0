;; Writes 10,000 lines "0123456" and then "the end" to stderr, and exits with 1.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "0123456\nthe end")
  (data (i32.const 0) "\40\00\00\00\08\00\00\00\48\00\00\00\07\00\00\00")
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const 10000))
    (loop $more
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 32)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (drop (call $write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 32)))
    (call $exit (i32.const 1))))
