	.syntax unified
	.cpu cortex-m4
	.thumb
	.section .isr_vector, "a"
	.long 0x20020000
	.long Reset_Handler

	.text
	.thumb_func
	.globl Reset_Handler
Reset_Handler:
	bl main
	b .
