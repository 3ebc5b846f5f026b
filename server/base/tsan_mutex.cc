// Tells ThreadSanitizer about absl::Mutex; part of thread-sanitizer builds only.
//
// The distribution's Abseil is built without the sanitizer, so its locks would go unseen and every
// field they guard would be reported as a race. The linker's --wrap (see CMakeLists.txt) sends our
// calls of its locking functions through here. absl::Notification stays unseen: use std::latch.

#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

// Exported by the sanitizer's run time, declared by no header of GCC 12.
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

// While Abseil unlocks or waits it evaluates other threads' conditions, with the mutex held but
// after the sanitizer was told of the unlock.
class IgnoreConditions {
 public:
  IgnoreConditions() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoreConditions() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

void Locking(absl::Mutex* mutex, unsigned flags) { __tsan_mutex_pre_lock(mutex, flags); }
void Locked(absl::Mutex* mutex, unsigned flags) { __tsan_mutex_post_lock(mutex, flags, 0); }
void Unlocked(absl::Mutex* mutex, unsigned flags) {
  __tsan_mutex_pre_unlock(mutex, flags);
  __tsan_mutex_post_unlock(mutex, flags);
}

}  // namespace

// Declares the wrapped function, as the linker names it, and defines ours. The mangled names carry
// the inline namespace of Debian's Abseil.
#define ETCDD_WRAP(result, name, mangled, ...)                      \
  extern "C" result Real##name(__VA_ARGS__) asm("__real_" mangled); \
  extern "C" result Wrap##name(__VA_ARGS__) asm("__wrap_" mangled); \
  extern "C" result Wrap##name(__VA_ARGS__)

ETCDD_WRAP(void, Lock, "_ZN4absl7debian35Mutex4LockEv", absl::Mutex* mutex) {
  Locking(mutex, 0);
  {
    const IgnoreConditions ignore;
    RealLock(mutex);
  }
  Locked(mutex, 0);
}

ETCDD_WRAP(void, Unlock, "_ZN4absl7debian35Mutex6UnlockEv", absl::Mutex* mutex) {
  Unlocked(mutex, 0);
  const IgnoreConditions ignore;
  RealUnlock(mutex);
}

ETCDD_WRAP(bool, TryLock, "_ZN4absl7debian35Mutex7TryLockEv", absl::Mutex* mutex) {
  constexpr unsigned kTry = __tsan_mutex_try_lock;
  Locking(mutex, kTry);
  const bool locked = RealTryLock(mutex);
  Locked(mutex, locked ? kTry : kTry | __tsan_mutex_try_lock_failed);
  return locked;
}

ETCDD_WRAP(void, ReaderLock, "_ZN4absl7debian35Mutex10ReaderLockEv", absl::Mutex* mutex) {
  Locking(mutex, __tsan_mutex_read_lock);
  {
    const IgnoreConditions ignore;
    RealReaderLock(mutex);
  }
  Locked(mutex, __tsan_mutex_read_lock);
}

ETCDD_WRAP(void, ReaderUnlock, "_ZN4absl7debian35Mutex12ReaderUnlockEv", absl::Mutex* mutex) {
  Unlocked(mutex, __tsan_mutex_read_lock);
  const IgnoreConditions ignore;
  RealReaderUnlock(mutex);
}

// Waits give the lock back and take it again. Requires: held for writing.

ETCDD_WRAP(void, LockWhen, "_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE", absl::Mutex* mutex,
           const absl::Condition& condition) {
  Locking(mutex, 0);
  {
    const IgnoreConditions ignore;
    RealLockWhen(mutex, condition);
  }
  Locked(mutex, 0);
}

ETCDD_WRAP(void, Await, "_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE", absl::Mutex* mutex,
           const absl::Condition& condition) {
  Unlocked(mutex, 0);
  {
    const IgnoreConditions ignore;
    RealAwait(mutex, condition);
  }
  Locking(mutex, 0);
  Locked(mutex, 0);
}

ETCDD_WRAP(bool, AwaitWithTimeout,
           "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
           absl::Mutex* mutex, const absl::Condition& condition, absl::Duration timeout) {
  Unlocked(mutex, 0);
  bool result = false;
  {
    const IgnoreConditions ignore;
    result = RealAwaitWithTimeout(mutex, condition, timeout);
  }
  Locking(mutex, 0);
  Locked(mutex, 0);
  return result;
}

ETCDD_WRAP(void, CondVarWait, "_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE", absl::CondVar* condvar,
           absl::Mutex* mutex) {
  Unlocked(mutex, 0);
  {
    const IgnoreConditions ignore;
    RealCondVarWait(condvar, mutex);
  }
  Locking(mutex, 0);
  Locked(mutex, 0);
}

ETCDD_WRAP(bool, CondVarWaitWithTimeout,
           "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
           absl::CondVar* condvar, absl::Mutex* mutex, absl::Duration timeout) {
  Unlocked(mutex, 0);
  bool result = false;
  {
    const IgnoreConditions ignore;
    result = RealCondVarWaitWithTimeout(condvar, mutex, timeout);
  }
  Locking(mutex, 0);
  Locked(mutex, 0);
  return result;
}
