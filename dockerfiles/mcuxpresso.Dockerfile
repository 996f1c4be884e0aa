# Firmware on NXP's MCUXpresso SDK, built with CMake.
#
#   hybrid build --board imx8m-mini --mcu cortex-m4 FOLDER
#   docker buildx build -f mcuxpresso.Dockerfile --platform linux/arm64 --build-arg BOARD=imx8m-mini \
#     --build-arg MCU=cortex-m4 --build-arg SDK_BOARD=evkmimx8mm --build-arg SDK_DEVICE=MIMX8MM6 FOLDER
#
# FOLDER holds armgcc/build_release.sh, as in the SDK's examples, or a CMakeLists.txt.
# Both find the SDK by the environment variable SdkRootDirPath. Without them, EXAMPLE
# names a folder of the SDK's: --build-arg EXAMPLE=demo_apps/hello_world.
#
# The SDK comes in one of three ways:
#   SDK_FROM=west      the public repository (default)
#   SDK_FROM=archive   the archive of NXP's SDK builder: the one file in the named context
#                      "archive", or what is at SDK_ARCHIVE_URL; if there is a secret
#                      nxp_token, it is shown to that server
#   --build-context sdk=FOLDER   a folder that holds it already
#
# Beside sdk, the stages toolchain (Debian with the compiler) and tools (the same with
# what builds the SDK) can be replaced by named contexts.
ARG BOARD
ARG MCU
ARG NAME=*
ARG SDK_BOARD=""
ARG SDK_DEVICE=""
ARG SDK_FROM=west

# the one place that says which SDK is built with
ARG MCUXPRESSO_VERSION=MCUX_2.16.100
ARG MCUXPRESSO_COMMIT=0420001d787c2c7bb062a2da4c46233d9daf2737
ARG MCUXPRESSO_URL=https://github.com/nxp-mcuxpresso/mcux-sdk
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

FROM tools AS from-west
ARG MCUXPRESSO_COMMIT
ARG MCUXPRESSO_URL
ARG WEST_COMMIT
ARG WEST_URL
ARG MCUXPRESSO_PROJECTS="mcux-sdk-examples CMSIS_5 FreeRTOS-Kernel mcux-sdk-middleware-multicore rpmsg-lite"
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
checkout core "$MCUXPRESSO_URL" "$MCUXPRESSO_COMMIT"
[ -d .west ] || python3 -m west init -l core
python3 -m west update --narrow --fetch-opt=--depth=1 $MCUXPRESSO_PROJECTS
mkdir /sdk
tar -c --exclude=.git --exclude=.west-source . | tar -x -C /sdk
EOF
RUN --mount=type=cache,id=hybrid-mcuxpresso,target=/workspace,sharing=locked fetch-sdk

# The token is in this one step, and in no argument of a program: curl reads it from
# standard input. What is fetched is unpacked without it.
FROM tools AS download
ARG SDK_ARCHIVE_URL=""
COPY --chmod=755 <<'EOF' /usr/local/bin/fetch-archive
#!/bin/sh
set -eu
fail() { echo "mcuxpresso.Dockerfile: $*" >&2; exit 1; }
token=/run/secrets/nxp_token
[ -n "$SDK_ARCHIVE_URL" ] || fail "SDK_FROM=archive: give the archive as --build-context archive=FOLDER or --build-arg SDK_ARCHIVE_URL=…"
[ ! -f $token ] || ! grep -q '["\\]' $token || fail "the secret nxp_token has a quote or a backslash, which no token has"
authorization() {
	[ -f $token ] || return 0
	printf 'header = "Authorization: Bearer '
	tr -d '\r\n' < $token
	printf '"\n'
}
mkdir /archive
authorization | curl --config - --fail --silent --show-error --location --retry 3 \
	--proto =http,https --proto-redir =https --max-filesize 4G --output /archive/sdk "$SDK_ARCHIVE_URL"
EOF
RUN --mount=type=secret,id=nxp_token fetch-archive

FROM scratch AS archive
COPY --from=download /archive /

# An archive is a stranger's: it is unpacked into memory of a limited size, and only
# files, folders and links that stay inside of it are taken.
FROM tools AS from-archive
ARG SDK_ARCHIVE_SHA256=""
ARG SDK_ARCHIVE_LIMIT=2g
COPY --chmod=755 <<'EOF' /usr/local/bin/unpack-archive
#!/bin/sh
set -eu
fail() { echo "mcuxpresso.Dockerfile: the SDK's archive $*" >&2; exit 1; }
set -- /archive/*
[ $# = 1 ] && [ -f "$1" ] || fail "must be one file in the context \"archive\""
if [ -n "$SDK_ARCHIVE_SHA256" ]; then
	sum=$(sha256sum < "$1" | cut -d' ' -f1)
	[ "$sum" = "$SDK_ARCHIVE_SHA256" ] || fail "has sha256 $sum, want $SDK_ARCHIVE_SHA256"
fi
failed=
case $(head -c 4 "$1" | od -An -tx1 | tr -d ' ') in
504b0304)
	climber=$(unzip -Z1 "$1" | grep -m 1 -E '^/|(^|/)\.\.(/|$)' || true) # unzip would take it as another name
	[ -z "$climber" ] || fail "holds a name that leads out of it: $climber"
	unzip -q "$1" -d /unpack || failed=unzip ;;
1f8b*)
	tar -xzf "$1" --no-same-owner --no-same-permissions -C /unpack || failed=tar ;;
*) fail "is neither zip nor tar.gz: was it a login page that was saved?" ;;
esac
if [ -n "$failed" ]; then
	[ "$(df --output=avail /unpack | tail -n 1)" -gt 0 ] || fail "needs more than $SDK_ARCHIVE_LIMIT: if it is to be trusted, --build-arg SDK_ARCHIVE_LIMIT=…"
	fail "cannot be unpacked: $failed says why above"
fi
odd=$(find /unpack ! -type d ! -type f ! -type l -print -quit)
[ -z "$odd" ] || fail "holds a device or a pipe: ${odd#/unpack/}"
find /unpack -type l -exec sh -c 'for l; do case $(readlink -m "$l") in /unpack/*) ;; *) echo "$l leads out of the archive" >&2; exit 1 ;; esac; done' sh {} + ||
	fail "holds a link that leads out of it"
top=/unpack
set -- /unpack/*
if [ $# = 1 ] && [ -d "$1" ] && [ ! -d /unpack/devices ]; then top=$1; fi
[ -d "$top/devices" ] || [ -d "$top/core/devices" ] || fail "is no MCUXpresso SDK: it has no folder devices"
mkdir /sdk
cp -r --no-dereference --preserve=timestamps "$top/." /sdk/
EOF
RUN --mount=type=bind,from=archive,target=/archive \
    --mount=type=tmpfs,target=/unpack,size=${SDK_ARCHIVE_LIMIT} unpack-archive

FROM from-${SDK_FROM} AS source

FROM scratch AS sdk
COPY --from=source /sdk /

FROM tools AS build
ARG BOARD
ARG MCU
ARG SDK_BOARD
ARG SDK_DEVICE
ARG EXAMPLE=""
ENV ARMGCC_DIR=/usr SdkRootDirPath=/sdk
COPY --chmod=755 <<'EOF' /usr/local/bin/build-firmware
#!/bin/sh
set -eu
fail() { echo "mcuxpresso.Dockerfile: $*" >&2; exit 1; }
project=/src
if [ -n "$EXAMPLE" ]; then
	[ -n "$SDK_BOARD" ] || fail "say what the SDK calls the board: --build-arg SDK_BOARD=…"
	for folder in examples boards; do # of the repository, of the archive
		[ ! -d "/sdk/$folder/$SDK_BOARD/$EXAMPLE" ] || project=/sdk/$folder/$SDK_BOARD/$EXAMPLE
	done
	[ $project != /src ] || fail "the SDK has no example $EXAMPLE for $SDK_BOARD"
fi
export BOARD MCU SDK_BOARD SDK_DEVICE
[ ! -d $project/armgcc ] || project=$project/armgcc
cd $project
if [ -f build_release.sh ]; then
	sh build_release.sh
elif [ -f CMakeLists.txt ]; then
	toolchain=$(find /sdk/core/tools /sdk/tools -name armgcc.cmake 2>/dev/null | head -n 1)
	[ -n "$toolchain" ] || fail "the SDK has no armgcc.cmake below tools/cmake_toolchain_files"
	cmake -DCMAKE_TOOLCHAIN_FILE="$toolchain" -DCMAKE_BUILD_TYPE=release -G Ninja -S . -B release
	cmake --build release
else
	fail "no project: there is neither armgcc/build_release.sh nor CMakeLists.txt"
fi
# the scripts of the SDK end with tee and so never fail: what counts is the firmware
mkdir /out
find . -path '*release/*.elf' -type f -exec sh -c 'for f; do arm-none-eabi-objcopy --strip-debug "$f" "/out/${f##*/}"; done' sh {} +
[ -n "$(ls /out)" ] || fail "the build made no release/*.elf: it says why above"
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
ENTRYPOINT ["hello_world.elf"]
