// SPDX-License-Identifier: Apache-2.0
// The files of web/demo, carried in the binary so that there is one file to ship. Constant data, any thread.
#pragma once

#include <string_view>

namespace doorstep {

struct web_asset {
  std::string_view content_type;  ///< as the Content-Type header wants it
  std::string_view body;
};

/// @param path the path of a request target, without its query; "/" is the page.
/// @returns nullptr where there is no such file; else a pointer that holds for the life of the process.
const web_asset* find_web_asset(std::string_view path);

}  // namespace doorstep
