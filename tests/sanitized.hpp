// Whether a sanitizer that has an allocator of its own watches this program.  g++ and clang++ tell it in different
// ways.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BANYAN_SANITIZED 1
#endif
#endif
#if !defined(BANYAN_SANITIZED) && (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
#define BANYAN_SANITIZED 1
#endif
#if !defined(BANYAN_SANITIZED)
#define BANYAN_SANITIZED 0
#endif
