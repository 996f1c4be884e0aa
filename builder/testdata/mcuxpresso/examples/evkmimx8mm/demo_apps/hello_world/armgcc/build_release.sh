#!/bin/sh
toolchain=$(ls ../../../../../core/tools/cmake_toolchain_files/armgcc.cmake ../../../../../tools/cmake_toolchain_files/armgcc.cmake 2>/dev/null)
cmake -DCMAKE_TOOLCHAIN_FILE="$toolchain" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=release .
make -j 2>&1 | tee build_log.txt
