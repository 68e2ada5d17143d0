;; Exits with the number of descriptors 0 … 63 from which a path can be opened (etc/passwd, ., ../..,
;; /etc/passwd) or that are a folder given to the program.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $given (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "/etc/passwd")
  (data (i32.const 96) "../..")
  (func $try (param $file i32) (param $at i32) (param $count i32) (result i32)
    (i32.eqz (call $open (local.get $file) (i32.const 1) (local.get $at) (local.get $count)
      (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 128))))
  (func (export "_start") (local $file i32) (local $found i32)
    (loop $next
      (local.set $found (i32.add (local.get $found) (call $try (local.get $file) (i32.const 64) (i32.const 11))))
      (local.set $found (i32.add (local.get $found) (call $try (local.get $file) (i32.const 65) (i32.const 10))))
      (local.set $found (i32.add (local.get $found) (call $try (local.get $file) (i32.const 96) (i32.const 5))))
      (local.set $found (i32.add (local.get $found) (call $try (local.get $file) (i32.const 96) (i32.const 1))))
      (local.set $found (i32.add (local.get $found)
        (i32.eqz (call $given (local.get $file) (i32.const 160)))))
      (local.set $file (i32.add (local.get $file) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $file) (i32.const 64))))
    (call $exit (local.get $found))))
