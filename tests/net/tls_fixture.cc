#include "tests/net/tls_fixture.h"

#include <sys/socket.h>

#include <array>
#include <fstream>
#include <utility>

#include "server/net/tls_stream.h"

namespace etcdd::net {
namespace {

constexpr int kRoundsMax = 100'000;

}  // namespace

bool TlsPair::Step(ByteStream* stream, OutputBuffer* output, std::string* received,
                   IoResult* end) {
  if (stream == nullptr || *end != IoResult::kOk) return false;
  std::array<char, 100'000> buffer;
  const bool was_ready = stream->ready();
  const size_t unsent = output->size();
  size_t count = 0;
  const IoResult read = stream->Read(buffer.data(), buffer.size(), &count);
  if (read == IoResult::kOk) received->append(buffer.data(), count);
  if (read == IoResult::kClosed || read == IoResult::kFailed) *end = read;
  if (*end == IoResult::kOk && (!output->empty() || stream->holds_output())) {
    if (stream->Write(output) == IoResult::kFailed) *end = IoResult::kFailed;
  }
  return count > 0 || *end != IoResult::kOk || output->size() != unsent ||
         was_ready != stream->ready();
}

void TlsPair::Run() {
  // One more round after nothing moved: a handshake step may have been only sent.
  int idle = 0;
  for (int round = 0; idle < 3; ++round) {
    ASSERT_LT(round, kRoundsMax) << "bytes move for ever";
    const bool client_moved = Step(client.get(), &client_output, &at_client, &client_end);
    const bool server_moved = Step(server.get(), &server_output, &at_server, &server_end);
    idle = client_moved || server_moved ? 0 : idle + 1;
  }
}

TlsTest::TlsTest() {
  CertificateRequest request;
  request.common_name = "server";
  request.alt_names = "DNS:localhost,IP:127.0.0.1";
  Use(ca_.Issue(request), "server", &server_config_);
  client_config_.trusted_ca_file = File("ca.pem", ca_.certificate());
}

std::string TlsTest::File(const std::string& name, const std::string& content) {
  const std::string path = PathOf(name);
  {
    std::ofstream out(path + ".new", std::ios::binary);
    out << content;
  }
  EXPECT_TRUE(fs_->Rename(path + ".new", path).ok());
  return path;
}

void TlsTest::Use(const PemPair& pair, const std::string& name, TlsConfig* config) {
  config->cert_file = File(name + ".pem", pair.certificate);
  config->key_file = File(name + ".key", pair.key);
}

void TlsTest::MakeContexts() {
  auto server = TlsServerContext::Create(fs_.get(), server_config_);
  ASSERT_TRUE(server.ok()) << server.status();
  auto client = TlsClientContext::Create(fs_.get(), client_config_);
  ASSERT_TRUE(client.ok()) << client.status();
  server_ = *std::move(server);
  client_ = *std::move(client);
}

std::pair<int, int> TlsTest::Sockets() {
  int fds[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  return {fds[0], fds[1]};
}

TlsPair TlsTest::Connect(const std::string& hostname) {
  const auto [server_fd, client_fd] = Sockets();
  TlsPair pair(NewTlsServerStream(server_fd, server_.get(), "192.0.2.1:1234"),
               NewTlsClientStream(client_fd, client_.get(), hostname));
  pair.Run();
  return pair;
}

std::string TlsTest::ServerErrorOf(TlsPair* pair) {
  if (!pair->server->ready()) return pair->server->error_text();
  return "";
}

}  // namespace etcdd::net
