// SPDX-License-Identifier: Apache-2.0
// What top -H and a debugger call a thread.
#pragma once

#include <pthread.h>

#include <string>

namespace doorstep {

/// At most 15 bytes are shown, so what tells threads apart comes first.
inline void name_this_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

}  // namespace doorstep
