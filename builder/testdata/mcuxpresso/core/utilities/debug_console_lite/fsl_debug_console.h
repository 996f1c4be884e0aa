int DbgConsole_Printf(const char *format, ...);
#define PRINTF DbgConsole_Printf
