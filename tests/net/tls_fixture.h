#pragma once

// Two ends of a socket pair with TLS between them, and the files both are told to use.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "gtest/gtest.h"
#include "server/base/file_system.h"
#include "server/net/byte_stream.h"
#include "server/net/tls_context.h"
#include "tests/net/test_certificates.h"
#include "tests/support/temp_dir.h"

namespace etcdd::net {

// Both ends of one connection, driven by hand.
class TlsPair {
 public:
  // Takes ownership of both; either may be null when a test has its own idea of that end.
  TlsPair(std::unique_ptr<ByteStream> s, std::unique_ptr<ByteStream> c)
      : server(std::move(s)), client(std::move(c)) {}

  // Moves bytes both ways until nothing moves any more. What arrives is kept below.
  void Run();
  // Queues `text` at the client, or at the server.
  void ClientSays(std::string_view text) { client_output.Append(text); }
  void ServerSays(std::string_view text) { server_output.Append(text); }
  bool both_ready() const { return server->ready() && client->ready(); }

  std::unique_ptr<ByteStream> server;
  std::unique_ptr<ByteStream> client;
  OutputBuffer server_output;
  OutputBuffer client_output;
  std::string at_server;  // received
  std::string at_client;
  IoResult server_end = IoResult::kOk;  // kClosed or kFailed once Read or Write has said so
  IoResult client_end = IoResult::kOk;

 private:
  static bool Step(ByteStream* stream, OutputBuffer* output, std::string* received,
                   IoResult* end);
};

class TlsTest : public ::testing::Test {
 protected:
  TlsTest();

  // Writes a file into the test's directory; replaces an earlier one by renaming, as tools do.
  std::string File(const std::string& name, const std::string& content);
  // Writes NAME.pem and NAME.key and puts them into `config`.
  void Use(const PemPair& pair, const std::string& name, TlsConfig* config);
  // A server that shows a certificate for localhost and asks for none; a client that knows its CA.
  void MakeContexts();
  std::string PathOf(const std::string& name) const { return directory_.Path(name); }

  TlsPair Connect(const std::string& hostname = "localhost");
  // The handshake of one connection: what the server's end has to say about it, "" when it stands.
  std::string ServerErrorOf(TlsPair* pair);

  // A socket pair, non-blocking: first for the server.
  static std::pair<int, int> Sockets();

  testing::TempDir directory_;
  std::unique_ptr<base::FileSystem> fs_ = base::NewPosixFileSystem();
  TestAuthority ca_{"test CA"};
  TlsConfig server_config_;
  TlsConfig client_config_;
  std::unique_ptr<TlsServerContext> server_;
  std::unique_ptr<TlsClientContext> client_;
};

}  // namespace etcdd::net
