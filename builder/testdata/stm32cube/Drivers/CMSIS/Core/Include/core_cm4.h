#define __CM4_REV 1
