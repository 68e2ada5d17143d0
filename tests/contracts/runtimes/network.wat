;; Exits with the number of descriptors 0 … 63 on which a connection can be accepted, data received or sent.
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $receive (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\04\00\00\00")
  (func (export "_start") (local $file i32) (local $open i32)
    (loop $next
      (local.set $open (i32.add (local.get $open)
        (i32.eqz (call $accept (local.get $file) (i32.const 0) (i32.const 32)))))
      (local.set $open (i32.add (local.get $open)
        (i32.eqz (call $receive (local.get $file) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 32) (i32.const 36)))))
      (local.set $open (i32.add (local.get $open)
        (i32.eqz (call $send (local.get $file) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 32)))))
      (local.set $file (i32.add (local.get $file) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $file) (i32.const 64))))
    (call $exit (local.get $open))))
