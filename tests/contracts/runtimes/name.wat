;; Prints argv[0].
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $end i32)
    (drop (call $args (i32.const 1024) (i32.const 4096)))
    (local.set $end (i32.const 4096))
    (loop $more
      (local.set $end (i32.add (local.get $end) (i32.const 1)))
      (br_if $more (i32.load8_u (local.get $end))))
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (i32.sub (local.get $end) (i32.const 4096)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
