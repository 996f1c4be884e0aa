#!/bin/sh
# As in the SDK's examples, but that it ends with an error where there is one.
set -eu
cd "$(dirname "$0")"
tools=$SdkRootDirPath/core/tools # of the public repository
[ -d "$tools" ] || tools=$SdkRootDirPath/tools
cmake -DCMAKE_TOOLCHAIN_FILE="$tools/cmake_toolchain_files/armgcc.cmake" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=release .
make -j "$(nproc)"
