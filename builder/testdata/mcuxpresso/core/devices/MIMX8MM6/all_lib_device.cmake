# As many components as hello_world asks for.
if(CONFIG_USE_device_MIMX8MM6_startup)
  target_sources(${MCUX_SDK_PROJECT_NAME} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/gcc/startup_MIMX8MM6_cm4.S)
endif()
if(CONFIG_USE_utility_debug_console_lite)
  set(console ${CMAKE_CURRENT_LIST_DIR}/../../utilities/debug_console_lite)
  target_sources(${MCUX_SDK_PROJECT_NAME} PRIVATE ${console}/fsl_debug_console.c)
  target_include_directories(${MCUX_SDK_PROJECT_NAME} PRIVATE ${console})
endif()
