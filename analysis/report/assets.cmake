# The page's script, style and charting library are embedded in the program, so that a report can be written on any
# machine. d3 (version 3) comes from the system's package and is never part of this repository.
find_file(HEADROOM_D3_JS d3.min.js PATHS /usr/share/javascript/d3 NO_DEFAULT_PATH
          DOC "d3.min.js, version 3, embedded in reports")
if(NOT HEADROOM_D3_JS)
  message(FATAL_ERROR "d3.min.js not found: install the package libjs-d3, or set -DHEADROOM_D3_JS=/path/to/d3.min.js")
endif()
file(READ ${HEADROOM_D3_JS} d3_head LIMIT 200)
if(NOT d3_head MATCHES "version:\"(3\\.[0-9.]+)\"")
  message(FATAL_ERROR "${HEADROOM_D3_JS} is not d3 version 3 as Debian's libjs-d3 has it")
endif()

set(report_assets ${PROJECT_SOURCE_DIR}/analysis/report/page/report.css
                  ${PROJECT_SOURCE_DIR}/analysis/report/page/report.js ${HEADROOM_D3_JS})
set_source_files_properties(${PROJECT_SOURCE_DIR}/analysis/report/assets.cpp PROPERTIES
  OBJECT_DEPENDS "${report_assets}"
  COMPILE_DEFINITIONS "HEADROOM_PAGE_DIR=\"${PROJECT_SOURCE_DIR}/analysis/report/page\";HEADROOM_D3_JS=\"${HEADROOM_D3_JS}\";HEADROOM_D3_VERSION=\"${CMAKE_MATCH_1}\"")
