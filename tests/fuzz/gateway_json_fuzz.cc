// Feeds arbitrary text to the gateway's way in: as one message and as the body of a stream. It is
// taken or refused; what is taken is written as JSON that reads back as the same message, and a
// body is cut the same way however it arrives.
//
// Built with clang's -fsanitize=fuzzer it is driven by libFuzzer. Otherwise it has a main of its
// own that mutates good requests: gateway_json_fuzz [runs] [seed].

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "proto/rpc.pb.h"
#include "server/base/check.h"
#include "server/base/random.h"
#include "server/http/json_codec.h"
#include "server/http/message_splitter.h"
#include "tests/fuzz/mutate.h"

namespace etcdd::http {
namespace {

constexpr size_t kMessageBytesMax = 1 << 10;

template <typename T>
bool CheckMessage(std::string_view json) {
  T message;
  if (!MessageFromJson(json, &message).ok()) return false;
  std::string text;
  AppendJson(message, &text);
  T again;
  ETCDD_CHECK(MessageFromJson(text, &again).ok());
  ETCDD_CHECK(again.SerializeAsString() == message.SerializeAsString());
  return true;
}

std::vector<std::string> Split(std::string_view body, size_t step) {
  MessageSplitter splitter(kMessageBytesMax);
  std::vector<std::string> messages;
  for (size_t at = 0; at < body.size(); at += step) {
    splitter.Append(body.substr(at, step));
    while (true) {
      const auto next = splitter.Next();
      if (!next.ok()) return messages;
      if (!*next) break;
      ETCDD_CHECK((*next)->size() <= kMessageBytesMax);
      messages.push_back(**next);
    }
  }
  return messages;
}

}  // namespace

void FuzzOne(std::string_view text) {
  CheckMessage<etcdserverpb::TxnRequest>(text);
  CheckMessage<etcdserverpb::WatchRequest>(text);
  CheckMessage<etcdserverpb::MemberAddRequest>(text);
  const std::vector<std::string> messages = Split(text, text.size() + 1);
  ETCDD_CHECK(Split(text, 1) == messages);
}

}  // namespace etcdd::http

#ifdef ETCDD_LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  etcdd::http::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}

#else

int main(int argc, char** argv) {
  const uint64_t runs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const auto random = etcdd::base::NewSeededRandom(seed);
  const std::string good[] = {
      R"({"compare":[{"key":"YQ==","target":"VERSION","result":"EQUAL","version":"1.0e1"}],
          "success":[{"request_put":{"key":"-_8","value":"MQ==","lease":7}}],
          "failure":[{"requestRange":{"key":"YQ==","limit":"12"}}]})",
      R"({"create_request":{"key":"Zm9v","filters":["NOPUT",1],"watch_id":null}}
         {"cancel_request":{"watch_id":"3"},"x":{"y":[true,false,"\u00e4\ud83d\ude00"]}})",
      R"({"peerURLs":["http://a:1","\\\"\n"],"isLearner":true})"};
  ETCDD_CHECK(etcdd::http::CheckMessage<etcdserverpb::TxnRequest>(good[0]));
  ETCDD_CHECK(etcdd::http::CheckMessage<etcdserverpb::WatchRequest>(good[1]));
  ETCDD_CHECK(etcdd::http::CheckMessage<etcdserverpb::MemberAddRequest>(good[2]));
  for (uint64_t run = 0; run < runs; ++run) {
    std::string text = good[random->Uniform(3)];
    etcdd::testing::Mutate(*random, &text);
    etcdd::http::FuzzOne(text);
  }
  return 0;
}

#endif
