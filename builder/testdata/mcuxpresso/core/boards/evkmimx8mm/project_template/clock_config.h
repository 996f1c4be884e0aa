void BOARD_BootClockRUN(void);
