// The JSON gateway against a real member, without a socket; and its streams against a handler of
// the test's, which can be slow.

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/http/client_site.h"
#include "server/http/gateway_answer.h"
#include "server/rpc/dispatch.h"
#include "server/rpc/services.h"
#include "tests/server/member_fixture.h"
#include "tests/transport/fake_exchange.h"

namespace etcdd::http {
namespace {

using server::MemberFixture;
using transport::FakeExchange;

constexpr size_t kMessageBytesMax = 64 << 10;

std::string Field(const net::Http1Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

class GatewayTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(member_.Start().ok());
    auto& server = *member_.server;
    dispatcher_ = std::make_unique<rpc::ServiceDispatcher>(&server);
    rpc::RegisterKv(&server, &server.strand(), dispatcher_.get());
    rpc::RegisterWatch(&server, dispatcher_.get());
    rpc::RegisterLease(&server, dispatcher_.get());
    rpc::RegisterMaintenance(&server, dispatcher_.get());
    rpc::RegisterCluster(&server, dispatcher_.get());
    MakeSite({});
  }
  void MakeSite(ClientSiteOptions options) {
    options.message_bytes_max = kMessageBytesMax;
    site_.emplace(member_.server.get(),
                  GatewayParts{dispatcher_.get(), &member_.server->strand(), &member_.clock},
                  std::move(options));
  }

  std::shared_ptr<FakeExchange> Begin(std::string path, std::string body,
                                      net::Http1Headers headers = {},
                                      std::string method = "POST") {
    auto exchange = std::make_shared<FakeExchange>(std::move(method), std::move(path),
                                                   std::move(headers), std::move(body));
    site_->Serve(exchange);
    member_.Run();
    return exchange;
  }
  net::Http1Response Post(std::string path, std::string body, net::Http1Headers headers = {}) {
    const auto exchange = Begin(std::move(path), std::move(body), std::move(headers));
    EXPECT_EQ(exchange->answers, 1);
    EXPECT_FALSE(exchange->started);
    return exchange->answer;
  }
  void ExpectAnswer(const net::Http1Response& answer, int status, std::string_view body) {
    EXPECT_EQ(answer.status, status);
    EXPECT_EQ(answer.content_type, "application/json");
    EXPECT_EQ(answer.body, body);
  }
  // Ids and terms are the fixture's affair.
  std::string Header(int64_t revision) {
    const auto& identity = member_.server->identity();
    return absl::StrCat(R"("header":{"cluster_id":")", identity.cluster_id, R"(","member_id":")",
                        identity.member_id, R"(","revision":")", revision, R"(","raft_term":")",
                        member_.server->Status().raft_term, R"("})");
  }

  MemberFixture member_;
  std::unique_ptr<rpc::ServiceDispatcher> dispatcher_;
  std::optional<ClientSite> site_;
};

TEST_F(GatewayTest, RoutesAreThoseOfTheFacts) {
  std::ifstream facts(ETCDD_GRPC_SERVICES);
  ASSERT_TRUE(facts.good());
  std::set<std::string> paths;
  std::string line;
  std::getline(facts, line);
  while (std::getline(facts, line)) {
    const std::vector<std::string> columns = absl::StrSplit(line, '\t');
    if (columns[8] == "-") continue;
    const GatewayRoute* route = FindGatewayRoute(columns[8]);
    ASSERT_NE(route, nullptr) << columns[8];
    EXPECT_EQ(route->method, columns[2]);
    EXPECT_EQ(route->client_streaming, columns[5] == "true") << columns[8];
    EXPECT_EQ(route->server_streaming, columns[6] == "true") << columns[8];
    EXPECT_EQ(route->request->GetTypeName(), columns[3]);
    EXPECT_EQ(route->reply->GetTypeName(), columns[4]);
    paths.insert(columns[8]);
  }
  EXPECT_EQ(paths.size(), 51u);
  EXPECT_EQ(GatewayRoutes().size(), paths.size());
}

TEST_F(GatewayTest, PutRangeAndDelete) {
  const net::Http1Response put = Post("/v3/kv/put", R"({"key":"Zm9v","value":"YmFy"})");
  ExpectAnswer(put, 200, "{" + Header(2) + "}");
  EXPECT_EQ(Field(put, "Grpc-Metadata-Content-Type"), "application/grpc");
  ExpectAnswer(Post("/v3/kv/range", R"({"key":"Zm9v"})"), 200,
               "{" + Header(2) + R"(,"kvs":[{"key":"Zm9v","create_revision":"2",)"
               R"("mod_revision":"2","version":"1","value":"YmFy"}],"count":"1"})");
  ExpectAnswer(Post("/v3/kv/deleterange", R"({"key":"Zm9v","prev_kv":true})"), 200,
               "{" + Header(3) + R"(,"deleted":"1","prev_kvs":[{"key":"Zm9v",)"
               R"("create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}]})");
  ExpectAnswer(Post("/v3/kv/compaction", R"({"revision":"3","physical":true})"), 200,
               "{" + Header(3) + "}");
}

TEST_F(GatewayTest, TxnSaysSucceededOnlyWhenItDid) {
  const std::string txn =
      R"({"compare":[{"key":"YQ==","target":"VERSION","result":"EQUAL","version":"0"}],)"
      R"("success":[{"request_put":{"key":"YQ==","value":"MQ=="}}],)"
      R"("failure":[{"request_range":{"key":"YQ==","keys_only":true}}]})";
  ExpectAnswer(Post("/v3/kv/txn", txn), 200,
               "{" + Header(2) + R"(,"succeeded":true,"responses":[{"response_put":{"header":)"
               R"({"revision":"2"}}}]})");
  EXPECT_TRUE(absl::StartsWith(Post("/v3/kv/txn", txn).body,
                               "{" + Header(2) + R"(,"responses":[{"response_range":)"));
}

TEST_F(GatewayTest, LeasesUnderBothPaths) {
  ExpectAnswer(Post("/v3/lease/grant", R"({"TTL":60,"ID":"7"})"), 200,
               "{" + Header(1) + R"(,"ID":"7","TTL":"60"})");
  for (const char* prefix : {"/v3/lease/", "/v3/kv/lease/"}) {
    ExpectAnswer(Post(absl::StrCat(prefix, "timetolive"), R"({"ID":7})"), 200,
                 "{" + Header(1) + R"(,"ID":"7","TTL":"60","grantedTTL":"60"})");
    ExpectAnswer(Post(absl::StrCat(prefix, "leases"), ""), 200,
                 "{" + Header(1) + R"(,"leases":[{"ID":"7"}]})");
  }
  ExpectAnswer(Post("/v3/kv/lease/revoke", R"({"ID":7})"), 200, "{" + Header(1) + "}");
  ExpectAnswer(Post("/v3/lease/timetolive", R"({"ID":7})"), 200,
               "{" + Header(1) + R"(,"ID":"7","TTL":"-1"})");
}

TEST_F(GatewayTest, ErrorsInEtcdsForm) {
  ExpectAnswer(Post("/v3/lease/revoke", R"({"ID":9})"), 404,
               R"({"code":5,"message":"etcdserver: requested lease not found"})");
  ExpectAnswer(Post("/v3/kv/put", "{}"), 400,
               R"({"code":3,"message":"etcdserver: key is not provided"})");
  ExpectAnswer(Post("/v3/kv/put", R"({"key":)"), 400, R"({"code":3,"message":"unexpected EOF"})");
  ExpectAnswer(Post("/v3/kv/nope", "{}"), 404, R"({"code":5,"message":"Not Found"})");
  ExpectAnswer(Post("/v3/", "{}"), 404, R"({"code":5,"message":"Not Found"})");
  ExpectAnswer(Begin("/v3/kv/put", "", {}, "GET")->answer, 501,
               R"({"code":12,"message":"Method Not Allowed"})");
  EXPECT_EQ(Post("/v3/auth/role/add", R"({"name":"r"})").status, 501);  // no auth yet
  // One byte too long once it is a message.
  const std::string key((kMessageBytesMax + 1) / 3 * 4, 'A');
  ExpectAnswer(Post("/v3/kv/put", absl::StrCat(R"({"key":")", key, "\"}")), 429,
               absl::StrCat(R"({"code":8,"message":"grpc: received message larger than max ()",
                            (kMessageBytesMax + 1) / 3 * 3 + 4, " vs. ", kMessageBytesMax,
                            ")\"}"));
}

TEST_F(GatewayTest, AliasesAndTheRoot) {
  for (const char* path : {"/v3beta/kv/put", "/v3alpha/kv/put", "/v3/kv/put?x=1"}) {
    EXPECT_EQ(Post(path, R"({"key":"Zm9v"})").status, 200) << path;
  }
  for (const char* path : {"/v3gamma/kv/put", "/v2/keys", "/v3beta", "/x/v3/kv/put"}) {
    const net::Http1Response answer = Post(path, "");
    EXPECT_EQ(answer.status, 404);
    EXPECT_EQ(answer.body, "404 page not found\n") << path;
  }
  const net::Http1Response root = Post("/v3", "");
  EXPECT_EQ(root.status, 301);
  EXPECT_EQ(Field(root, "Location"), "/v3/");
}

TEST_F(GatewayTest, CanBeOff) {
  ClientSiteOptions options;
  options.gateway = false;
  MakeSite(options);
  for (const char* path : {"/v3/kv/range", "/v3beta/kv/range", "/v3"}) {
    EXPECT_EQ(Post(path, "{}").body, "404 page not found\n");
  }
  EXPECT_EQ(Begin("/health", "", {}, "GET")->answer.status, 200);
}

TEST_F(GatewayTest, BodiesAreReadInPiecesWhereTheClientStreams) {
  const auto rule = [this](std::string target) {
    net::Http1Request head;
    head.target = std::move(target);
    return site_->BodyRule(head);
  };
  for (const char* path : {"/v3/watch", "/v3beta/lease/keepalive?a"}) {
    EXPECT_TRUE(rule(path).in_pieces) << path;
    EXPECT_EQ(rule(path).pause_max, absl::InfiniteDuration());
  }
  for (const char* path : {"/v3/kv/put", "/v3/maintenance/snapshot", "/v3/nope"}) {
    EXPECT_FALSE(rule(path).in_pieces) << path;
    EXPECT_EQ(rule(path).bytes_max, 2 * kMessageBytesMax);
  }
  EXPECT_EQ(rule("/health").bytes_max, net::Http1BodyRule().bytes_max);
}

TEST_F(GatewayTest, WatchGoesOnAfterTheEndOfTheBody) {
  const auto watch = Begin("/v3/watch", "");
  EXPECT_FALSE(watch->started);
  watch->Arrive(R"({"create_request":{"key":)");
  member_.Run();
  EXPECT_FALSE(watch->started);
  watch->Arrive("\"Zm9v\"}}\n");
  watch->Arrive("");
  member_.Run();
  ASSERT_TRUE(watch->started);
  EXPECT_EQ(watch->answer.status, 200);
  EXPECT_EQ(watch->answer.content_type, "application/json");
  EXPECT_EQ(watch->written, "{\"result\":{" + Header(1) + ",\"created\":true}}\n");
  watch->written.clear();
  ASSERT_TRUE(member_.Put("foo", "bar").ok());
  ASSERT_TRUE(member_.Delete("foo").ok());
  member_.Run();
  EXPECT_EQ(watch->written,
            "{\"result\":{" + Header(2) + R"(,"events":[{"kv":{"key":"Zm9v","create_revision":"2",)"
            R"("mod_revision":"2","version":"1","value":"YmFy"}}]}})" "\n"
            "{\"result\":{" + Header(3) +
            R"(,"events":[{"type":"DELETE","kv":{"key":"Zm9v","mod_revision":"3"}}]}})" "\n");
  EXPECT_FALSE(watch->ended);
  watch->Cancel();
  member_.Run();
  ASSERT_TRUE(member_.Put("foo", "bar").ok());
  EXPECT_EQ(watch.use_count(), 1) << "a stream outlives its client";
}

TEST_F(GatewayTest, KeepAliveEndsWithItsBody) {
  ASSERT_TRUE(member_.LeaseGrant(7, 60).ok());
  const auto stream = Begin("/v3/lease/keepalive", "");
  stream->Arrive(R"({"ID":7}{"ID":"8"})");
  member_.Run();
  EXPECT_EQ(stream->written, "{\"result\":{" + Header(1) + ",\"ID\":\"7\",\"TTL\":\"60\"}}\n" +
                                 "{\"result\":{" + Header(1) + ",\"ID\":\"8\"}}\n");
  EXPECT_FALSE(stream->ended);
  stream->Arrive("");
  member_.Run();
  EXPECT_TRUE(stream->ended);
  EXPECT_EQ(stream.use_count(), 1);
}

TEST_F(GatewayTest, MalformedMessagesEndAStream) {
  const auto early = Begin("/v3/watch", "");
  early->Arrive("{\"create_request\":7}");
  ASSERT_EQ(early->answers, 1);
  ExpectAnswer(early->answer, 400,
               "{\"error\":{\"code\":3,\"message\":\"proto: (line 1:19): invalid value for message "
               "field create_request\"}}\n");
  ASSERT_TRUE(member_.LeaseGrant(7, 60).ok());
  const auto late = Begin("/v3/lease/keepalive", "");
  late->Arrive("{\"ID\":7}");
  member_.Run();
  late->Arrive("{\"ID\":");
  EXPECT_FALSE(late->ended);
  late->Arrive("");
  EXPECT_TRUE(late->ended);
  EXPECT_TRUE(absl::EndsWith(late->written,
                             "}\n{\"error\":{\"code\":3,\"message\":\"unexpected EOF\"}}\n"));
  member_.Run();
  EXPECT_EQ(early.use_count(), 1);
  EXPECT_EQ(late.use_count(), 1);
}

TEST_F(GatewayTest, HeadersBecomeMetadata) {
  net::Http1Request request;
  request.remote = "192.0.2.1:99";
  request.headers = {{"Host", "h:1"},           {"Authorization", "Bearer t"},
                     {"Accept", "*/*"},         {"Grpc-Metadata-HasLeader", "true"},
                     {"X-Forwarded-For", "a"},  {"Grpc-Metadata-X-Bin", "Zm9v"},
                     {"X-Other", "dropped"},    {"Grpc-Timeout", "3S"}};
  const auto read = ReadGatewayHeaders(request);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->timeout, absl::Seconds(3));
  EXPECT_EQ(read->peer, "192.0.2.1:99");
  EXPECT_EQ(read->Find("authorization"), "Bearer t");
  EXPECT_EQ(read->Find("grpcgateway-authorization"), "Bearer t");
  EXPECT_EQ(read->Find("grpcgateway-accept"), "*/*");
  EXPECT_EQ(read->Find("hasleader"), "true");
  EXPECT_EQ(read->Find("x-bin"), "foo");
  EXPECT_EQ(read->Find("x-forwarded-for"), "a, 192.0.2.1");
  EXPECT_EQ(read->Find("x-forwarded-host"), "h:1");
  EXPECT_EQ(read->Find("x-other"), std::nullopt);
  ExpectAnswer(Post("/v3/kv/put", R"({"key":"Zm9v"})", {{"grpc-timeout", "1x"}}), 400,
               R"({"code":3,"message":"invalid grpc-timeout: 1x"})");
  // And the dispatcher sees it.
  member_.Crash();
  ASSERT_TRUE(member_.Start(/*wait_until_ready=*/false).ok());
  dispatcher_ = std::make_unique<rpc::ServiceDispatcher>(member_.server.get());
  MakeSite({});
  const auto exchange = std::make_shared<FakeExchange>(
      "POST", "/v3/watch", net::Http1Headers{{"Grpc-Metadata-Hasleader", "true"}});
  site_->Serve(exchange);
  ExpectAnswer(exchange->answer, 503,
               "{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}\n");
  member_.Run();
}

TEST_F(GatewayTest, OriginsAndHosts) {
  const auto options_of = [this](net::Http1Headers headers) {
    const auto exchange = Begin("/any", "", std::move(headers), "OPTIONS");
    EXPECT_EQ(exchange->answer.status, 200);
    EXPECT_EQ(exchange->answer.body, "");
    return Field(exchange->answer, "Access-Control-Allow-Origin");
  };
  EXPECT_EQ(options_of({}), "*");
  const net::Http1Response any = Post("/v3/kv/put", R"({"key":"Zm9v"})");
  EXPECT_EQ(Field(any, "Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(Field(any, "Access-Control-Allow-Methods"), "POST, GET, OPTIONS, PUT, DELETE");
  EXPECT_EQ(Field(any, "Access-Control-Allow-Headers"), "accept, content-type, authorization");
  ClientSiteOptions options;
  options.cors_origins = {"http://a:80"};
  options.host_whitelist = {"good", "::1"};
  MakeSite(options);
  EXPECT_EQ(options_of({{"Host", "good"}}), "");
  EXPECT_EQ(options_of({{"Host", "good:2379"}, {"Origin", "http://b:80"}}), "");
  EXPECT_EQ(options_of({{"Host", "[::1]:2379"}, {"Origin", "http://a:80"}}), "http://a:80");
  const net::Http1Response evil = Post("/v3/kv/put", "{}", {{"Host", "evil:2379"}});
  EXPECT_EQ(evil.status, 421);
  EXPECT_TRUE(absl::StartsWith(
      evil.body, "\netcd received your request, but the Host header was unrecognized.\n"));
  EXPECT_TRUE(absl::StrContains(evil.body, "--host-whitelist \"evil\""));
  EXPECT_TRUE(absl::StrContains(evil.body, "CVE-2018-5702"));
  EXPECT_EQ(Field(evil, "Access-Control-Allow-Origin"), "");
  const auto secure = std::make_shared<FakeExchange>(
      "GET", "/health", net::Http1Headers{{"Host", "evil"}}, "", /*tls=*/true);
  site_->Serve(secure);
  member_.Run();
  EXPECT_EQ(secure->answer.status, 200) << "a certificate protects against rebinding";
}

TEST(HttpStatusOfTest, EachCode) {
  const int expected[] = {200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500,
                          503, 500, 401};
  for (int code = 0; code < 17; ++code) {
    EXPECT_EQ(HttpStatusOf(static_cast<absl::StatusCode>(code)), expected[code]) << code;
  }
  const net::Http1Response answer = ErrorAnswer(absl::UnauthenticatedError("a\r\nb: \"c\""));
  EXPECT_EQ(Field(answer, "WWW-Authenticate"), "a  b: \"c\"");
  EXPECT_EQ(answer.body, "{\"code\":16,\"message\":\"a\\r\\nb: \\\"c\\\"\"}");
}

// Keeps what it gets, for the test to answer.
class HeldRequests final : public rpc::Dispatcher {
 public:
  MethodKind Classify(std::string_view) const override { return MethodKind::kUnary; }
  void Dispatch(std::shared_ptr<rpc::Call> request) override {
    call = std::move(request);
    call->OnCancel([this] { ++cancels; });
  }
  void Dispatch(std::shared_ptr<rpc::Stream> request) override {
    stream = std::move(request);
    rpc::Stream::Events events;
    events.on_message = [this](std::string_view message) { messages.emplace_back(message); };
    events.on_half_close = [this] { ++half_closes; };
    events.on_writable = [this] { ++writables; };
    events.on_done = [this] { ++dones; };
    stream->SetEvents(std::move(events));
  }

  std::shared_ptr<rpc::Call> call;
  std::shared_ptr<rpc::Stream> stream;
  std::vector<std::string> messages;
  int cancels = 0, half_closes = 0, writables = 0, dones = 0;
};

class GatewayRequestTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeExchange> Begin(std::string path, std::string body = "",
                                      net::Http1Headers headers = {}) {
    auto exchange = std::make_shared<FakeExchange>("POST", path, std::move(headers),
                                                   std::move(body));
    gateway_.Serve(path, exchange);
    return exchange;
  }

  testing::FakeClock clock_;
  testing::FakeStrand strand_{&clock_};
  HeldRequests held_;
  Gateway gateway_{GatewayParts{&held_, &strand_, &clock_}, kMessageBytesMax};
};

TEST_F(GatewayRequestTest, CallsAreAnsweredOnce) {
  const auto exchange = Begin("/v3/kv/put", R"({"key":"Zm9v"})");
  EXPECT_EQ(held_.call->method(), "/etcdserverpb.KV/Put");
  EXPECT_EQ(held_.call->request(), "\n\x03" "foo");
  EXPECT_EQ(held_.call->deadline(), absl::InfiniteDuration());
  held_.call->Finish(absl::OkStatus(), "");
  EXPECT_EQ(exchange->answer.body, "{}");
  EXPECT_EQ(exchange->answers, 1);
  EXPECT_EQ(held_.cancels, 0);
  held_.call = nullptr;
  EXPECT_EQ(exchange.use_count(), 1);
}

TEST_F(GatewayRequestTest, RepliesThatAreNoMessagesAreOurFault) {
  const auto exchange = Begin("/v3/kv/put");
  held_.call->Finish(absl::OkStatus(), "\xff");
  EXPECT_EQ(exchange->answer.status, 500);
}

TEST_F(GatewayRequestTest, DeadlineEndsACall) {
  const auto exchange = Begin("/v3/kv/put", "", {{"Grpc-Timeout", "100m"}});
  EXPECT_EQ(held_.call->deadline(), clock_.Monotonic() + absl::Milliseconds(100));
  clock_.AdvanceBy(absl::Milliseconds(99));
  EXPECT_EQ(exchange->answers, 0);
  clock_.AdvanceBy(absl::Milliseconds(1));
  EXPECT_EQ(exchange->answer.status, 504);
  EXPECT_EQ(exchange->answer.body, R"({"code":4,"message":"context deadline exceeded"})");
  EXPECT_TRUE(held_.call->cancelled());
  EXPECT_EQ(held_.cancels, 1);
  held_.call->Finish(absl::OkStatus(), "");
  EXPECT_EQ(exchange->answers, 1);
}

TEST_F(GatewayRequestTest, ClientThatGoesCancelsItsCall) {
  const auto exchange = Begin("/v3/kv/put", "", {{"Grpc-Timeout", "1S"}});
  exchange->Cancel();
  EXPECT_EQ(held_.cancels, 1);
  EXPECT_TRUE(held_.call->cancelled());
  held_.call->Finish(absl::OkStatus(), "");
  EXPECT_EQ(exchange->answers, 0);
  EXPECT_EQ(strand_.timer_count(), 0u);
}

TEST_F(GatewayRequestTest, SlowReaderIsNotReadAndItsHandlerWaits) {
  const auto exchange = Begin("/v3/watch");
  exchange->full = true;
  EXPECT_FALSE(held_.stream->Send(""));
  EXPECT_FALSE(held_.stream->writable());
  exchange->Arrive("{}{}");  // was on its way
  exchange->Arrive("");
  EXPECT_TRUE(held_.messages.empty());
  EXPECT_EQ(held_.half_closes, 0);
  exchange->Drain();
  EXPECT_EQ(held_.writables, 1);
  EXPECT_TRUE(held_.stream->writable());
  EXPECT_EQ(held_.messages.size(), 2u);
  EXPECT_EQ(held_.half_closes, 1);
  EXPECT_EQ(exchange->written, "{\"result\":{}}\n");
}

TEST_F(GatewayRequestTest, BodyIsHeldWhileTheReaderIsSlow) {
  const auto exchange = Begin("/v3/watch");
  exchange->full = true;
  held_.stream->Send("");
  exchange->Arrive("{}");
  EXPECT_TRUE(exchange->held);
  exchange->Drain();
  EXPECT_FALSE(exchange->held);
  EXPECT_EQ(held_.messages.size(), 1u);
}

TEST_F(GatewayRequestTest, StreamEndsTellTheHandlerLaterAndOnce) {
  const auto exchange = Begin("/v3/maintenance/snapshot");
  EXPECT_EQ(held_.messages.size(), 1u);
  EXPECT_EQ(held_.half_closes, 1);
  held_.stream->Send("");
  held_.stream->Finish(absl::DataLossError("torn"));
  EXPECT_EQ(exchange->written,
            "{\"result\":{}}\n{\"error\":{\"code\":15,\"message\":\"torn\"}}\n");
  EXPECT_TRUE(exchange->ended);
  EXPECT_EQ(held_.dones, 0);
  EXPECT_FALSE(held_.stream->Send(""));
  held_.stream->Finish(absl::OkStatus());
  clock_.RunReady();
  EXPECT_EQ(held_.dones, 1);
  held_.stream = nullptr;
  EXPECT_EQ(exchange.use_count(), 1);
}

TEST_F(GatewayRequestTest, StreamWithoutMessagesIsEmpty) {
  const auto exchange = Begin("/v3/election/observe");
  held_.stream->Finish(absl::OkStatus());
  EXPECT_TRUE(exchange->started);
  EXPECT_TRUE(exchange->ended);
  EXPECT_EQ(exchange->written, "");
}

TEST_F(GatewayRequestTest, DeadlineAndCancelEndAStream) {
  const auto late = Begin("/v3/watch", "", {{"Grpc-Timeout", "1S"}});
  held_.stream->Send("");
  clock_.AdvanceBy(absl::Seconds(1));
  EXPECT_TRUE(late->ended);
  EXPECT_EQ(late->written, "{\"result\":{}}\n{\"error\":{\"code\":4,\"message\":\"context "
                           "deadline exceeded\"}}\n");
  EXPECT_EQ(held_.dones, 1);
  const auto gone = Begin("/v3/watch");
  gone->Cancel();
  EXPECT_FALSE(held_.stream->writable());
  EXPECT_EQ(held_.dones, 2) << "at once: the server may go right after its connections";
  clock_.RunReady();
  EXPECT_EQ(held_.dones, 2);
}

TEST_F(GatewayRequestTest, MessagesOfAStreamAreBounded) {
  const auto exchange = Begin("/v3/watch");
  exchange->Arrive("{\"a\":\"" + std::string(2 * kMessageBytesMax, 'a'));
  EXPECT_EQ(exchange->answer.status, 429);
  const auto whole = Begin("/v3/watch");
  whole->Arrive(R"({"create_request":{"key":")" + std::string(kMessageBytesMax / 3 * 4 + 4, 'A') +
                "\"}}");
  EXPECT_EQ(whole->answer.status, 429);
}

}  // namespace
}  // namespace etcdd::http
