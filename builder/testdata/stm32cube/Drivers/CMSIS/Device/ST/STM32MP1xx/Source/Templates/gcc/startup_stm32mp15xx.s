	.syntax unified
	.cpu cortex-m4
	.thumb
	.section .isr_vector, "a"
	.long 0x10040000
	.long Reset_Handler

	.text
	.thumb_func
	.globl Reset_Handler
Reset_Handler:
	bl SystemInit
	bl main
	b .
