# Firmware on Zephyr, built with west.
#
#   hybrid build --board imx8m-mini --mcu cortex-m4 FOLDER
#   docker buildx build -f zephyr.Dockerfile --platform linux/arm64 --build-arg BOARD=imx8m-mini \
#     --build-arg MCU=cortex-m4 --build-arg SDK_BOARD=imx8mm_evk/mimx8mm6/m4 FOLDER
#
# FOLDER is a Zephyr application: CMakeLists.txt, prj.conf, src. Without one, EXAMPLE
# names a folder of Zephyr's: --build-arg EXAMPLE=samples/hello_world.
#
# Each of these stages can be replaced by a named context:
#   toolchain   Debian with the compiler
#   tools       the same with what builds Zephyr
#   sdk         a west workspace: zephyr, modules and .west
ARG BOARD
ARG MCU
ARG NAME=*
ARG SDK_BOARD=""

# the one place that says which Zephyr is built with; its own west.yml pins the modules
ARG ZEPHYR_VERSION=v3.7.0
ARG ZEPHYR_COMMIT=36940db938a8f4a1e919496793ed439850a221c2
ARG ZEPHYR_URL=https://github.com/zephyrproject-rtos/zephyr
ARG WEST_VERSION=v1.5.0
ARG WEST_COMMIT=f0e657721f2e215470274d6f8c0464fa73fc9caf
ARG WEST_URL=https://github.com/zephyrproject-rtos/west

FROM --platform=$BUILDPLATFORM debian:bookworm-slim AS toolchain
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi make \
 && rm -rf /var/lib/apt/lists/*

FROM toolchain AS tools
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates cmake curl device-tree-compiler git gperf ninja-build unzip \
    python3 python3-colorama python3-dateutil python3-docopt python3-intelhex python3-packaging python3-pip python3-pyelftools \
    python3-pykwalify python3-ruamel.yaml python3-setuptools python3-wheel python3-yaml \
 && rm -rf /var/lib/apt/lists/*

FROM tools AS fetch
ARG ZEPHYR_COMMIT
ARG ZEPHYR_URL
ARG WEST_COMMIT
ARG WEST_URL
ARG ZEPHYR_PROJECTS="cmsis hal_nxp hal_stm32 hal_ti libmetal open-amp picolibc"
# the workspace stays in the cache, so that another version fetches what is new alone
COPY --chmod=755 <<'EOF' /usr/local/bin/fetch-sdk
#!/bin/sh
set -eu
checkout() {
	[ -d "$1/.git" ] || git init -q "$1"
	git -C "$1" fetch -q --depth 1 "$2" "$3"
	git -C "$1" checkout -q --force --detach "$3"
}
cd /workspace
checkout /workspace/.west-source "$WEST_URL" "$WEST_COMMIT"
rm -rf .python
pip install -q --no-index --no-deps --no-build-isolation --root-user-action=ignore --target .python ./.west-source
export PYTHONPATH=/workspace/.python
checkout zephyr "$ZEPHYR_URL" "$ZEPHYR_COMMIT"
[ -d .west ] || python3 -m west init -l zephyr
python3 -m west update --narrow --fetch-opt=--depth=1 $ZEPHYR_PROJECTS
mkdir /sdk
tar -c --exclude=.git --exclude=.west-source . | tar -x -C /sdk
EOF
RUN --mount=type=cache,id=hybrid-zephyr,target=/workspace,sharing=locked fetch-sdk

FROM scratch AS sdk
COPY --from=fetch /sdk /

FROM tools AS build
ARG BOARD
ARG MCU
ARG NAME
ARG SDK_BOARD
ARG EXAMPLE=""
ENV ZEPHYR_TOOLCHAIN_VARIANT=gnuarmemb GNUARMEMB_TOOLCHAIN_PATH=/usr
COPY --chmod=755 <<'EOF' /usr/local/bin/build-firmware
#!/bin/sh
set -eu
fail() { echo "zephyr.Dockerfile: $*" >&2; exit 1; }
[ -n "$SDK_BOARD" ] || fail "say what Zephyr calls the board: --build-arg SDK_BOARD=…"
[ -f /sdk/zephyr/VERSION ] || fail "the SDK is no west workspace: it has no zephyr/VERSION"
application=/src
[ -z "$EXAMPLE" ] || application=/sdk/zephyr/$EXAMPLE
[ -f "$application/CMakeLists.txt" ] || fail "no Zephyr application: there is no ${EXAMPLE:+$EXAMPLE/}CMakeLists.txt"
[ ! -d /sdk/.python ] || export PYTHONPATH=/sdk/.python
cd /sdk
python3 -m west build -b "$SDK_BOARD" -d /build "$application"
# Zephyr calls every program zephyr.elf, the image by the project
[ "$NAME" != '*' ] || NAME=$(sed -n 's/^ *project *( *\([A-Za-z0-9_-]*\).*/\1/p' "$application/CMakeLists.txt" | tail -n 1)
mkdir /out
arm-none-eabi-objcopy --strip-debug /build/zephyr/zephyr.elf "/out/${NAME:-zephyr}.elf"
EOF
RUN --mount=type=bind,from=sdk,target=/sdk,rw \
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
ENTRYPOINT ["zephyr.elf"]
