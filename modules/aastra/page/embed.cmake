#
# embed.cmake  Turn the page's files into an array of C
#
# Copyright (C) 2026 The baresip-aastra authors
#
#   cmake "-DFILES=page/a.html;page/b.js" -DFROM=<folder> -DTO=<file>
#         -P embed.cmake
#

set(TYPE_html "text/html; charset=utf-8")
set(TYPE_css  "text/css; charset=utf-8")
set(TYPE_js   "text/javascript; charset=utf-8")
set(TYPE_svg  "image/svg+xml")

set(data "")
set(table "")
set(n 0)

foreach(file IN LISTS FILES)
  file(READ ${FROM}/${file} hex HEX)
  get_filename_component(name ${file} NAME)
  get_filename_component(ext ${file} LAST_EXT)
  string(SUBSTRING ${ext} 1 -1 ext)

  if(NOT DEFINED TYPE_${ext})
    message(FATAL_ERROR "${file}: no type for .${ext}")
  endif()

  # 16 bytes a line
  string(REGEX REPLACE "(................................)" "\\1\n" hex
    "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")

  string(APPEND data
    "static const uint8_t file${n}[] = {\n${hex}\n};\n\n")
  string(APPEND table
    "\t{\"/${name}\", \"${TYPE_${ext}}\", file${n}, sizeof(file${n})},\n")

  if(name STREQUAL "index.html")
    string(APPEND table
      "\t{\"/\", \"${TYPE_${ext}}\", file${n}, sizeof(file${n})},\n")
  endif()

  math(EXPR n "${n} + 1")
endforeach()

file(WRITE ${TO}
"/* Made of modules/aastra/page by embed.cmake: change it there */
#include <stddef.h>
#include <stdint.h>
#include \"http.h\"

${data}const struct aa_page_file aa_page_filev[] = {
${table}};

const size_t aa_page_filec =
	sizeof(aa_page_filev) / sizeof(aa_page_filev[0]);
")
