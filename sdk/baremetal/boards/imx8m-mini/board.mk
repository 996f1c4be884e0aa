MCUS := cortex-m4
