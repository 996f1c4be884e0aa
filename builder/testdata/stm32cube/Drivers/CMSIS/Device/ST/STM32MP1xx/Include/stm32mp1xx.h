#include "core_cm4.h"
#if !defined(CORE_CM4) || !defined(STM32MP157Cxx)
#error "Please select first the target STM32MP1xx device"
#endif
