# Firmware on ST's STM32CubeMP1 package, built with make.
#
#   hybrid build --board stm32mp157c-dk2 --mcu cortex-m4 FOLDER
#   docker buildx build -f stm32cube.Dockerfile --platform linux/arm/v7 --build-arg BOARD=stm32mp157c-dk2 \
#     --build-arg MCU=cortex-m4 --build-arg SDK_BOARD=STM32MP157C-DK2 --build-arg SDK_DEVICE=STM32MP157Cxx FOLDER
#
# FOLDER holds a Makefile, or CM4/Makefile, as STM32CubeMX writes it for the toolchain
# "Makefile". It is called with SDK (the package's folder), BOARD, MCU, SDK_BOARD,
# SDK_DEVICE and O (where the ELF file may go).
#
# The stages toolchain (Debian with the compiler) and sdk (the package) can be replaced
# by named contexts.
ARG BOARD
ARG MCU
ARG NAME=*
ARG SDK_BOARD=""
ARG SDK_DEVICE=""

# the one place that says which package is built with
ARG STM32CUBEMP1_VERSION=1.7.0
ARG STM32CUBEMP1_COMMIT=525d2499658d817a9e669eb17e66390906954895
ARG STM32CUBEMP1_URL=https://github.com/STMicroelectronics/STM32CubeMP1

FROM --platform=$BUILDPLATFORM debian:bookworm-slim AS toolchain
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi make \
 && rm -rf /var/lib/apt/lists/*

FROM toolchain AS fetch
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git \
 && rm -rf /var/lib/apt/lists/*
ARG STM32CUBEMP1_COMMIT
ARG STM32CUBEMP1_URL
# what was fetched stays in the cache, so that another version fetches what is new alone
COPY --chmod=755 <<'EOF' /usr/local/bin/fetch-sdk
#!/bin/sh
set -eu
cd /repository
[ -d .git ] || git init -q .
git fetch -q --depth 1 "$STM32CUBEMP1_URL" "$STM32CUBEMP1_COMMIT"
mkdir /sdk
# the projects, for other tools than make, are half of the package
git archive "$STM32CUBEMP1_COMMIT" Drivers Middlewares | tar -x -C /sdk
EOF
RUN --mount=type=cache,id=hybrid-stm32cube,target=/repository,sharing=locked fetch-sdk

FROM scratch AS sdk
COPY --from=fetch /sdk /

FROM toolchain AS build
ARG BOARD
ARG MCU
ARG SDK_BOARD
ARG SDK_DEVICE
COPY --chmod=755 <<'EOF' /usr/local/bin/build-firmware
#!/bin/sh
set -eu
fail() { echo "stm32cube.Dockerfile: $*" >&2; exit 1; }
[ -d /sdk/Drivers/STM32MP1xx_HAL_Driver ] || fail "the SDK is no STM32CubeMP1: it has no Drivers/STM32MP1xx_HAL_Driver"
cd /src
[ -f Makefile ] || cd CM4 2>/dev/null || true
[ -f Makefile ] || fail "no Makefile: let STM32CubeMX generate the project for the toolchain Makefile"
mkdir /out
make SDK=/sdk BOARD="$BOARD" MCU="$MCU" SDK_BOARD="$SDK_BOARD" SDK_DEVICE="$SDK_DEVICE" O=/out
# a Makefile of STM32CubeMX knows no O
[ -n "$(ls /out)" ] || find . -name '*.elf' -type f -exec cp {} /out/ \;
[ -n "$(ls /out)" ] || fail "make made no ELF file"
for f in /out/*.elf; do arm-none-eabi-objcopy --strip-debug "$f"; done
EOF
RUN --mount=type=bind,from=sdk,target=/sdk \
    --mount=type=bind,target=/src,rw build-firmware

FROM scratch
ARG BOARD
ARG MCU
ARG NAME
LABEL board=$BOARD mcu=$MCU
ENV HYBRID_BOARD=$BOARD HYBRID_MCU=$MCU
COPY --from=build /out/${NAME}.elf /
# ENTRYPOINT expands no variables: hybrid puts the program's name here, other
# builders take it as it is
ENTRYPOINT ["firmware.elf"]
