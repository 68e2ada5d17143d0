;; Waits for 5 ms on the monotonic clock, then prints "slept".
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\05\00\00\00")
  (data (i32.const 32) "slept")
  ;; a subscription: user data, clock (0), monotonic (1), 5,000,000 ns
  (data (i32.const 64) "\07\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\40\4b\4c\00\00\00\00\00")
  (func (export "_start")
    (if (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)) (then unreachable))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 256)))))
