# Firmware without an operating system, built with the SDK in sdk/baremetal.
#
#   hybrid build --board imx8m-mini --mcu cortex-m4 FOLDER
#   docker buildx build -f baremetal.Dockerfile --platform linux/arm64 \
#     --build-arg BOARD=imx8m-mini --build-arg MCU=cortex-m4 --build-context sdk=sdk/baremetal FOLDER
#
# FOLDER holds a Makefile that includes $(SDK)/baremetal.mk. Where it builds several
# programs, NAME says which one the image is for.
#
# The compiler comes from Debian, or from an image that holds it already:
#   --build-context toolchain=oci-layout://FOLDER

ARG BOARD
ARG MCU
ARG NAME=*

FROM --platform=$BUILDPLATFORM debian:bookworm-slim AS toolchain
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi make \
 && rm -rf /var/lib/apt/lists/*

FROM toolchain AS build
ARG BOARD
ARG MCU
RUN --mount=type=bind,from=sdk,target=/sdk \
    --mount=type=bind,target=/src,rw \
    make -C /src SDK=/sdk BOARD=$BOARD MCU=$MCU O=/out

FROM scratch
ARG BOARD
ARG MCU
ARG NAME
LABEL board=$BOARD mcu=$MCU
ENV HYBRID_BOARD=$BOARD HYBRID_MCU=$MCU
COPY --from=build /out/${NAME}.elf /
# ENTRYPOINT expands no variables: hybrid puts the program's name here, other
# builders take it as it is
ENTRYPOINT ["hello_world.elf"]
