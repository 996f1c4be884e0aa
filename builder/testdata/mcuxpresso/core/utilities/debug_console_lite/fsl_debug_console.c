#include "fsl_debug_console.h"

int DbgConsole_Printf(const char *format, ...) { return *format; }
