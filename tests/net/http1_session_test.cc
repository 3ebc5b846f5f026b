// An Http1Session in memory: bodies in pieces, answers of shared pieces, and what is refused.

#include "server/net/http1_session.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/bytes.h"
#include "tests/net/http2_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class Http1SessionTest : public ::testing::Test, private SessionHost {
 protected:
  Http1SessionTest() {
    options_.handler = &handler_;
    options_.body_policy = &policy_;
    NewSession();
  }
  void NewSession() {
    session_ = std::make_unique<Http1Session>(&options_, static_cast<SessionHost*>(this));
  }
  ~Http1SessionTest() override { session_.reset(); }

  void Receive(std::string_view bytes) {
    session_->Receive(bytes);
    Turn();
  }
  void Turn() {
    for (int i = 0; i < 4; ++i) {
      loop_.RunTurn(absl::ZeroDuration());
      if (session_ == nullptr || blocked_) continue;
      session_->Produce(&produced_);
      output_ += produced_.ToString();
      produced_.Clear();
    }
  }
  void Advance(absl::Duration by) {
    clock_.Advance(by);
    Turn();
  }
  std::string TakeOutput() { return std::exchange(output_, std::string()); }
  // Takes the bodies of `exchange` as they come.
  void Collect(const std::shared_ptr<Http1Exchange>& exchange) {
    exchange->ReadBody([this](std::string_view piece) {
      if (piece.empty()) ++ends_;
      body_ += piece;
    });
    exchange->OnCancel([this] { ++cancelled_; });
  }
  Http1Exchange& exchange() { return *exchanges_.back(); }

  ManualClock clock_;
  EventLoop loop_{&clock_};
  const std::shared_ptr<const RemotePeer> peer_ =
      std::make_shared<const RemotePeer>(RemotePeer{"192.0.2.1:1234", "client name", true});
  Http1Options options_;
  bool collect_ = true;
  std::vector<std::shared_ptr<Http1Exchange>> exchanges_;
  Http1Handler handler_ = [this](std::shared_ptr<Http1Exchange> exchange) {
    exchanges_.push_back(exchange);
    if (collect_) Collect(exchange);
  };
  Http1BodyPolicy policy_ = [](const Http1Request& head) {
    Http1BodyRule rule;
    rule.in_pieces = head.target == "/pieces" || head.target == "/patient";
    if (head.target == "/patient") rule.pause_max = absl::InfiniteDuration();
    rule.bytes_max = rule.in_pieces ? size_t{1} << 40 : 10;
    return rule;
  };
  std::unique_ptr<Http1Session> session_;
  OutputBuffer produced_;
  std::string output_;
  bool blocked_ = false;
  std::string body_;
  int ends_ = 0;
  int cancelled_ = 0;

 private:
  EventLoop& loop() override { return loop_; }
  void WantFlush() override {}
  void WantInput() override {}
  const std::shared_ptr<const RemotePeer>& peer() const override { return peer_; }
};

TEST_F(Http1SessionTest, ABodyMayPauseAsLongAsItsRuleSays) {
  Receive("POST /patient HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  Advance(absl::Hours(24));
  Receive("1\r\nb\r\n");
  Advance(absl::Hours(24));
  EXPECT_EQ(cancelled_, 0);
  EXPECT_EQ(body_, "ab");
  // Only that body: the next request has to arrive in time again.
  Receive("0\r\n\r\n");
  exchange().Respond({});
  Receive("GET / HTTP/1.1\r\nslow: ");
  Advance(absl::Minutes(10));
  EXPECT_TRUE(session_->finished());
}

TEST_F(Http1SessionTest, DrainWaitsForAnAnswerButNotForAStream) {
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 1\r\n\r\na");
  exchange().StartStream({});
  session_->Drain();
  EXPECT_EQ(cancelled_, 1);
  EXPECT_TRUE((Turn(), session_->finished()));
  NewSession();
  Receive("GET / HTTP/1.1\r\n\r\n");
  session_->Drain();
  EXPECT_FALSE(session_->finished());
  exchange().Respond({});
  EXPECT_TRUE((Turn(), session_->finished()));
}

TEST_F(Http1SessionTest, ABodyInPiecesArrivesAsItComes) {
  Receive("POST /pieces HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  ASSERT_EQ(exchanges_.size(), 1u) << "at the header";
  EXPECT_THAT(exchange().request().body, IsEmpty());
  Receive("3\r\nabc\r\n2\r\nd");
  EXPECT_EQ(body_, "abcd");
  Receive("e\r\n");
  EXPECT_EQ(ends_, 0);
  Receive("0\r\n\r\nGET /next HTTP/1.1\r\n\r\n");
  EXPECT_EQ(body_, "abcde");
  EXPECT_EQ(ends_, 1);
  EXPECT_EQ(exchanges_.size(), 1u) << "the next request waits for the answer";
  exchange().Respond({204, "", {}, ""});
  Turn();
  EXPECT_EQ(exchanges_.size(), 2u);
  EXPECT_THAT(TakeOutput(), StartsWith("HTTP/1.1 204 No Content\r\n"));
  EXPECT_FALSE(session_->finished());
}

TEST_F(Http1SessionTest, LengthsKnownAndZero) {
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_EQ(body_, "ab");
  Receive("cde");
  EXPECT_EQ(body_, "abcde");
  EXPECT_EQ(ends_, 1);
  exchange().Respond({204, "", {}, ""});
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(ends_, 2);
  exchange().Respond({204, "", {}, ""});
  Turn();
  EXPECT_EQ(exchanges_.size(), 2u);
}

TEST_F(Http1SessionTest, AHugeLengthReservesNothing) {
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 900000000000\r\n\r\nab");
  EXPECT_EQ(body_, "ab");
}

TEST_F(Http1SessionTest, AHeldBodyIsNotReadAndNotLost) {
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
  exchange().HoldBody(true);
  const std::string piece(50'000, 'x');
  size_t sent = 0;
  while (session_->wants_input()) {
    Receive(piece);
    sent += piece.size();
    ASSERT_LT(sent, 200'000u) << "held: memory would grow";
  }
  EXPECT_EQ(body_.size(), 0u);
  Advance(absl::Minutes(10));
  EXPECT_EQ(cancelled_, 0) << "a held sender is not to blame for the time";
  exchange().HoldBody(false);
  Turn();
  EXPECT_EQ(body_.size(), sent);
  EXPECT_TRUE(session_->wants_input());
}

TEST_F(Http1SessionTest, NothingIsReadBeforeItIsAskedFor) {
  collect_ = false;
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc");
  EXPECT_THAT(TakeOutput(), IsEmpty());
  Collect(exchanges_.back());
  EXPECT_EQ(body_, "") << "not from within ReadBody";
  Turn();
  EXPECT_EQ(body_, "abc");
  EXPECT_EQ(TakeOutput(), "HTTP/1.1 100 Continue\r\n\r\n");
}

TEST_F(Http1SessionTest, AnAnswerBeforeTheEndOfTheBodyEndsTheConnection) {
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc");
  exchange().Respond({412, "text/plain", {}, "no"});
  Receive("more of the body");
  EXPECT_THAT(TakeOutput(), HasSubstr("Connection: close\r\n\r\nno"));
  EXPECT_TRUE(session_->finished());
  EXPECT_EQ(body_, "abc");
  EXPECT_EQ(cancelled_, 0);
}

TEST_F(Http1SessionTest, ASenderThatStopsIsGivenUp) {
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc");
  Advance(absl::Minutes(4));
  Receive("d");
  Advance(absl::Minutes(4));
  EXPECT_EQ(cancelled_, 0);
  Advance(absl::Minutes(2));
  EXPECT_EQ(cancelled_, 1);
  EXPECT_TRUE(session_->finished());
}

TEST_F(Http1SessionTest, ALostConnectionCancels) {
  Receive("POST /pieces HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc");
  session_->OnConnectionLost();
  EXPECT_EQ(cancelled_, 1);
  EXPECT_EQ(ends_, 0);
  exchange().Respond({204, "", {}, ""});  // to nobody
}

TEST_F(Http1SessionTest, BrokenChunksCancelAndAreRefused) {
  Receive("POST /pieces HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX\r\n\r\n");
  EXPECT_EQ(cancelled_, 1);
  EXPECT_THAT(TakeOutput(), StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(session_->finished());
}

TEST_F(Http1SessionTest, AWholeBodyHasTheLimitOfItsPath) {
  Receive("POST /whole HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789");
  ASSERT_EQ(exchanges_.size(), 1u);
  EXPECT_EQ(exchange().request().body, "0123456789");
  exchange().Respond({204, "", {}, ""});
  Turn();
  TakeOutput();
  Receive("POST /whole HTTP/1.1\r\nContent-Length: 11\r\n\r\n");
  EXPECT_THAT(TakeOutput(), StartsWith("HTTP/1.1 413 "));
  EXPECT_EQ(exchanges_.size(), 1u);
}

TEST_F(Http1SessionTest, AChunkedBodyHasTheLimitToo) {
  Receive("POST /whole HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n0");
  EXPECT_THAT(TakeOutput(), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(exchanges_, IsEmpty());
}

TEST_F(Http1SessionTest, ChunksOfManyPiecesAreNotJoined) {
  Receive("GET /stream HTTP/1.1\r\n\r\n");
  exchange().StartStream({});
  const base::Bytes big = base::Bytes::Copy(std::string(10'000, 'x'));
  OutputBuffer chunk;
  PieceOwner owner;
  owner.bytes = big;
  chunk.Append("head ");
  chunk.AppendShared(big.view(), owner);
  chunk.Append(" tail");
  EXPECT_TRUE(exchange().WriteChunk(&chunk));
  EXPECT_TRUE(chunk.empty());
  session_->Produce(&produced_);
  iovec vectors[8];
  const int count = produced_.Vectors(vectors, 8);
  ASSERT_EQ(count, 3);
  EXPECT_EQ(vectors[1].iov_base, big.view().data());
  EXPECT_THAT(produced_.ToString(),
              EndsWith("\r\n\r\n271a\r\nhead " + std::string(big.view()) + " tail\r\n"));
  produced_.Clear();
  exchange().End();
  Turn();
  EXPECT_EQ(TakeOutput(), "0\r\n\r\n");
}

TEST_F(Http1SessionTest, AStreamThatIsNotTakenSaysSoOnce) {
  Receive("GET /stream HTTP/1.1\r\n\r\n");
  blocked_ = true;
  exchange().StartStream({});
  std::vector<int> log;
  exchange().OnWritable([&] { log.push_back(1); });
  bool more = true;
  for (int i = 0; i < 20 && more; ++i) more = exchange().Write(std::string(100'000, 'y'));
  EXPECT_FALSE(more);
  Turn();
  EXPECT_THAT(log, IsEmpty());
  blocked_ = false;
  Turn();
  EXPECT_THAT(log, ElementsAre(1));
}

TEST_F(Http1SessionTest, AnExchangeMayEndInsideItsOwnCallbacks) {
  Receive("GET /stream HTTP/1.1\r\n\r\n");
  blocked_ = true;
  exchange().StartStream({});
  std::weak_ptr<Http1Exchange> weak = exchanges_.back();
  exchange().OnWritable([held = exchanges_.back()] { held->End(); });
  while (exchange().Write(std::string(100'000, 'y'))) {
  }
  exchanges_.clear();
  blocked_ = false;
  Turn();
  EXPECT_TRUE(weak.expired()) << "its callbacks let go of it";
  EXPECT_THAT(TakeOutput(), EndsWith("\r\n0\r\n\r\n"));
}

}  // namespace
}  // namespace etcdd::net
