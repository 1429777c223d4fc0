# A program of traps, room for an instruction and its copies, and data. The tests write what they run.
.section .text
.globl _start
_start: .fill 8192, 1, 0xcc
.section .far, "ax", @progbits
.fill 8192, 1, 0xcc
.section .data
.fill 16384, 1, 0
.section .note.GNU-stack, "", @progbits
