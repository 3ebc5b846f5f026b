// A server that echoes, for load figures and for tests with independent clients. Prints the
// addresses it listens on, one per line, and serves until SIGTERM or SIGINT, which drain it.
//
//   echo_server http://127.0.0.1:0 unix:///tmp/echo.sock
//
// Besides the methods of EchoService: every HTTP/1.1 request is answered with its body, GET with
// its target; /stream answers in three chunks.

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "server/base/clock.h"
#include "server/net/event_loop.h"
#include "server/net/front_door.h"
#include "server/net/health_service.h"
#include "tests/net/echo_service.h"

namespace {

using etcdd::net::Http1Exchange;
using etcdd::net::Http1Response;

void AnswerHttp1(const std::shared_ptr<Http1Exchange>& exchange) {
  Http1Response response;
  response.content_type = "text/plain; charset=utf-8";
  if (exchange->request().target == "/stream") {
    exchange->StartStream(std::move(response));
    exchange->Write("one\n");
    exchange->Write("two\n");
    exchange->Write("three\n");
    exchange->End();
    return;
  }
  response.body =
      exchange->request().method == "POST" ? exchange->request().body : exchange->request().target;
  exchange->Respond(std::move(response));
}

}  // namespace

int main(int argc, char** argv) {
  const auto clock = etcdd::base::NewSystemClock();
  etcdd::net::EventLoop loop(clock.get());
  etcdd::net::EchoService echo;
  etcdd::net::HealthService health(&echo);
  health.SetServing(true);
  etcdd::net::Http1Handler http1 = AnswerHttp1;
  etcdd::net::FrontDoorOptions options;
  options.http2.dispatcher = &health;
  options.http1.handler = &http1;
  etcdd::net::FrontDoor door(&loop, options);
  for (int i = 1; i < argc; ++i) {
    if (const absl::Status status = door.Listen(argv[i]); !status.ok()) {
      std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      return 1;
    }
  }
  for (const std::string& address : door.addresses()) std::printf("%s\n", address.c_str());
  std::fflush(stdout);

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread waiter([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    loop.Post([&] { door.Drain(absl::Seconds(2), [&] { loop.Stop(); }); });
  });
  loop.Run();
  waiter.join();
  return 0;
}
