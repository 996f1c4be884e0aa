# baremetal.mk - builds firmware without an operating system.
#
# A firmware's Makefile says what to build and includes this file:
#
#   PROGRAMS := blink                     # gives blink.elf
#   blink_SOURCES := main.c led.c         # default: blink.c
#   include $(SDK)/baremetal.mk
#
# and is called with
#
#   make [BOARD=imx8m-mini] [MCU=cortex-m4] [SDK=folder of this file] [O=output folder]
#
# The output depends on the sources and the compiler alone, not on folders or time:
# add CFLAGS=-g for a debugger, and it holds folders too. Everything is compiled in
# one go each time, which takes less than a second and leaves nothing behind that
# could be out of date.

BOARD ?= imx8m-mini
MCU ?= cortex-m4
O ?= .
CROSS_COMPILE ?= arm-none-eabi-
SDK := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

BOARDS := $(notdir $(patsubst %/board.mk,%,$(wildcard $(SDK)/boards/*/board.mk)))
ifeq ($(filter $(BOARD),$(BOARDS)),)
$(error unknown BOARD "$(BOARD)", the bare-metal SDK has: $(BOARDS))
endif
include $(SDK)/boards/$(BOARD)/board.mk
ifeq ($(filter $(MCU),$(MCUS)),)
$(error board $(BOARD) has no MCU "$(MCU)", it has: $(MCUS))
endif

FLAGS_cortex-m4 := -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16

SDK_SOURCES := $(sort $(wildcard $(SDK)/src/*.c)) $(SDK)/boards/$(BOARD)/board.c
SDK_FLAGS := $(FLAGS_$(MCU)) -std=gnu11 -Os -ffreestanding -nostdlib \
	-ffunction-sections -fdata-sections -fno-tree-loop-distribute-patterns \
	-Wall -Wextra -Werror -ffile-prefix-map=$(SDK)=sdk \
	-DHYBRID_BOARD='"$(BOARD)"' -DHYBRID_MCU='"$(MCU)"' -I$(SDK)/include -I$(SDK)/src \
	-L$(SDK)/boards -T$(SDK)/boards/$(BOARD)/link.ld \
	-Wl,--gc-sections -Wl,--build-id=none -Wl,--fatal-warnings

.PHONY: all clean FORCE
all: $(PROGRAMS:%=$(O)/%.elf)

$(O)/%.elf: FORCE
	@mkdir -p $(O)
	@echo '  CC      $@'
	@$(CROSS_COMPILE)gcc $(SDK_FLAGS) $(CPPFLAGS) $(CFLAGS) $(or $($*_SOURCES),$*.c) $(SDK_SOURCES) $(LDLIBS) -lgcc -o $@

clean:
	rm -f $(PROGRAMS:%=$(O)/%.elf)
