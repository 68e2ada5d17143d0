;; stdin to stdout; with nothing on stdin, the arguments with single spaces between.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (memory (export "memory") 16)
  (func $put (param $at i32) (param $count i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $count))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") (local $any i32) (local $i i32) (local $at i32) (local $count i32)
    (block $end
      (loop $more
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (i32.const 65536))
        (br_if $end (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $count (i32.load (i32.const 8)))
        (br_if $end (i32.eqz (local.get $count)))
        (local.set $any (i32.const 1))
        (call $put (i32.const 65536) (local.get $count))
        (br $more)))
    (if (local.get $any) (then (return)))
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (drop (call $args (i32.const 1024) (i32.const 65536)))
    ;; the strings lie one behind the other, each ending with a zero byte: skip the first, print the rest
    (local.set $at (i32.const 65536))
    (local.set $count (i32.add (i32.const 65536) (i32.load (i32.const 20))))
    (loop $skip
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $skip (i32.load8_u (i32.sub (local.get $at) (i32.const 1)))))
    (local.set $i (local.get $at))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
        (if (i32.eqz (i32.load8_u (local.get $i)))
          (then (i32.store8 (local.get $i) (i32.const 32))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (if (i32.ge_u (local.get $at) (local.get $count)) (then (return)))
    (call $put (local.get $at) (i32.sub (i32.sub (local.get $count) (local.get $at)) (i32.const 1)))))
