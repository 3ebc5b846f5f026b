// Feeds arbitrary bytes to the readers of both peer streams, in pieces. Whatever they are, a reader
// returns or refuses; the pieces make no difference; what it returns can be written again.
//
// Built with clang's -fsanitize=fuzzer it is driven by libFuzzer. Otherwise it has a main of its
// own that mutates good streams: peer_stream_fuzz [runs] [seed].

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "raft/codec.h"
#include "server/base/check.h"
#include "server/base/random.h"
#include "server/net/output_buffer.h"
#include "server/transport/stream_codec.h"

namespace etcdd::transport {
namespace {

struct Outcome {
  bool ok = true;
  std::vector<std::string> messages;  // encoded again
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome ReadStream(StreamKind kind, std::string_view bytes, size_t piece) {
  Outcome outcome;
  const auto decoder = NewStreamDecoder(kind, 2, 1);
  while (outcome.ok && !bytes.empty()) {
    const absl::Status status =
        decoder->Feed(bytes.substr(0, piece), [&](raft::Message message) {
          std::string encoded;
          raft::AppendEncoded(message, &encoded);
          outcome.messages.push_back(std::move(encoded));
          return true;
        });
    outcome.ok = status.ok();
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return outcome;
}

}  // namespace

void FuzzOne(std::string_view bytes) {
  for (const StreamKind kind : {StreamKind::kMessage, StreamKind::kMsgApp}) {
    const Outcome whole = ReadStream(kind, bytes, std::max<size_t>(bytes.size(), 1));
    ETCDD_CHECK(whole == ReadStream(kind, bytes, 1));
    ETCDD_CHECK(whole == ReadStream(kind, bytes, 13));
  }
}

}  // namespace etcdd::transport

#ifdef ETCDD_LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  etcdd::transport::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}

#else

namespace etcdd::transport {
namespace {

std::string GoodStream(StreamKind kind) {
  const auto encoder = NewStreamEncoder(kind);
  net::OutputBuffer out;
  uint64_t index = 7;
  for (uint64_t term = 3; term < 5; ++term) {
    for (int count = 0; count < 3; ++count) {
      raft::Message message;
      message.type = raft::MessageType::kApp;
      message.from = 1;
      message.to = 2;
      message.term = term;
      message.log_term = term;
      message.index = index;
      message.commit = index;
      for (int i = 0; i < count; ++i) {
        raft::Entry& entry = message.entries.emplace_back();
        entry.term = term;
        entry.index = ++index;
        entry.data = base::Bytes::Copy(std::string(static_cast<size_t>(i) * 40, 'p'));
      }
      encoder->Encode(message, &out);
      encoder->EncodeLinkHeartbeat(&out);
    }
  }
  return out.ToString();
}

void Mutate(base::Random& random, std::string* bytes) {
  for (uint64_t count = random.Uniform(4) + 1; count > 0 && !bytes->empty(); --count) {
    const auto at = static_cast<size_t>(random.Uniform(bytes->size()));
    switch (random.Uniform(4)) {
      case 0:
        (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << random.Uniform(8)));
        break;
      case 1:
        bytes->erase(at, static_cast<size_t>(random.Uniform(16)));
        break;
      case 2:
        bytes->insert(at, static_cast<size_t>(random.Uniform(16)),
                      static_cast<char>(random.Uniform(256)));
        break;
      default:
        bytes->resize(at);
    }
  }
}

}  // namespace
}  // namespace etcdd::transport

int main(int argc, char** argv) {
  const uint64_t runs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const auto random = etcdd::base::NewSeededRandom(seed);
  using etcdd::transport::StreamKind;
  const std::string good[] = {etcdd::transport::GoodStream(StreamKind::kMessage),
                              etcdd::transport::GoodStream(StreamKind::kMsgApp)};
  for (uint64_t run = 0; run < runs; ++run) {
    std::string bytes = good[run % 2];
    if (run >= 2) etcdd::transport::Mutate(*random, &bytes);
    etcdd::transport::FuzzOne(bytes);
  }
  return 0;
}

#endif
