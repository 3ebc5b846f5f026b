"""Places where a rule does not hold, each with its reason. One that is no longer needed is itself
reported, so the list only shrinks."""

# (rule, path, reason). Paths as in source.inside.
EXEMPTIONS = [
    ("banned_calls", "server/base/thread_strand.cc",
     "std::mutex: timers wait on the steady clock, which absl::Mutex cannot"),
    ("banned_calls", "tests/net/front_door_test.cc",
     "real sockets and real time; skips, with a message, what a machine may lack: IPv6, clients"),
    ("unfinished", "tests/tidy/", "the rule and its test name the words"),
]
