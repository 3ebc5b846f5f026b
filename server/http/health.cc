#include "server/http/health.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/etcd_server.h"
#include "server/http/response.h"

namespace etcdd::http {
namespace {

using server::EtcdServer;
using Exchange = std::shared_ptr<net::Http1Exchange>;

constexpr std::string_view kSerializableRead = "serializable_read";
constexpr std::string_view kLinearizableRead = "linearizable_read";
constexpr std::string_view kDataCorruption = "data_corruption";
constexpr std::string_view kNonLearner = "non_learner";

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// Reads the key of one zero byte, there or not, which takes every step of a read.
void Read(EtcdServer* server, bool serializable, server::Done done) {
  static constexpr std::string_view kKey("\0", 1);
  apply::RangeView range;
  range.key = kKey;
  range.keys_only = true;
  range.limit = 1;
  range.serializable = serializable;
  server->Range(range, std::move(done));
}

std::string JsonEscape(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20) {
      out.append("\\u00");
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

void AnswerHealth(EtcdServer* server, net::Http1Exchange& exchange, std::string_view reason) {
  const std::string body =
      absl::StrCat("{\"health\":\"", reason.empty() ? "true" : "false", "\",\"reason\":\"",
                   JsonEscape(reason), "\"}");
  if (reason.empty()) {
    server->metrics().health_successes.Add();
    net::Http1Response response;
    response.content_type = kPlainText;
    response.body = body;
    return exchange.Respond(std::move(response));
  }
  server->metrics().health_failures.Add();
  ETCDD_LOG(kWarn, "/health error", {{"output", body}, {"status-code", 503}});
  exchange.Respond(ErrorText(503, body));
}

// The name of an alarm that is in force and not overlooked.
std::optional<std::string_view> FirstAlarm(const EtcdServer& server,
                                           const std::vector<std::string>& excluded) {
  for (const apply::Alarm& alarm : server.alarms().List(apply::kAlarmNone)) {
    const std::string_view name = apply::AlarmName(alarm.type);
    if (std::find(excluded.begin(), excluded.end(), name) == excluded.end()) return name;
  }
  return std::nullopt;
}

// Checks under way for one request. Owned by the callbacks of its checks.
class CheckRun : public std::enable_shared_from_this<CheckRun> {
 public:
  CheckRun(EtcdServer* server, const Target& target, Exchange exchange)
      : server_(server),
        path_(target.path),
        page_(path_.substr(1, path_.find('/', 1) - 1)),
        verbose_(target.Has("verbose")),
        exchange_(std::move(exchange)) {}

  void Start(const std::vector<std::string_view>& names) {
    for (std::string_view name : names) checks_.push_back({name, std::nullopt});
    if (checks_.empty()) return Answer();
    // A check may end before the next one has begun: hence the count, and no early answer.
    pending_ = checks_.size();
    for (size_t i = 0; i < checks_.size(); ++i) Begin(i);
  }

 private:
  struct Check {
    std::string_view name;
    std::optional<std::string> failure;
  };

  void Begin(size_t i) {
    const std::string_view name = checks_[i].name;
    if (name == kDataCorruption) {
      return End(i, server_->alarms().Active(apply::kAlarmCorrupt)
                        ? std::optional<std::string>("alarm activated: CORRUPT")
                        : std::nullopt);
    }
    if (name == kNonLearner) {
      return End(i, server_->Status().is_learner
                        ? std::optional<std::string>("not supported for learner")
                        : std::nullopt);
    }
    ETCDD_CHECK(name == kSerializableRead || name == kLinearizableRead);
    Read(server_, name == kSerializableRead,
         [self = shared_from_this(), i](absl::Status status, std::string) {
           self->End(i, status.ok() ? std::nullopt
                                    : std::optional<std::string>(status.message()));
         });
  }

  void End(size_t i, std::optional<std::string> failure) {
    server_->metrics().CountHealthCheck(page_, checks_[i].name, !failure.has_value());
    checks_[i].failure = std::move(failure);
    if (--pending_ == 0) Answer();
  }

  void Answer() {
    std::string lines;
    std::vector<std::string> failed;
    for (const Check& check : checks_) {
      if (check.failure) {
        absl::StrAppend(&lines, "[-]", View(check.name), " failed: ", *check.failure, "\n");
        failed.push_back(absl::StrCat(View(check.name), ": ", *check.failure));
      } else {
        absl::StrAppend(&lines, "[+]", View(check.name), " ok\n");
      }
    }
    if (!failed.empty()) {
      ETCDD_LOG(kError, "Health check error",
                {{"path", path_}, {"reason", absl::StrJoin(failed, "; ")}, {"status-code", 503}});
      return exchange_->Respond(ErrorText(503, lines));
    }
    net::Http1Response response = ErrorText(200, "ok");
    if (verbose_) response.body.insert(0, lines);
    exchange_->Respond(std::move(response));
  }

  EtcdServer* const server_;
  const std::string path_;
  const std::string page_;  // "livez", "readyz"
  const bool verbose_;
  const Exchange exchange_;
  std::vector<Check> checks_;
  size_t pending_ = 0;
};

bool IsPage(std::string_view path) { return path.find('/', 1) == std::string_view::npos; }

}  // namespace

void ServeHealth(EtcdServer* server, const Target& target, Exchange exchange) {
  if (const auto alarm = FirstAlarm(*server, target.Values("exclude"))) {
    ETCDD_LOG(kWarn, "serving /health false due to an alarm", {{"alarm", *alarm}});
    return AnswerHealth(server, *exchange, absl::StrCat("ALARM ", View(*alarm)));
  }
  const std::vector<std::string> serializable_values = target.Values("serializable");
  const bool serializable =
      !serializable_values.empty() && serializable_values.front() == "true";
  if (!serializable && !server->has_leader()) {
    ETCDD_LOG(kWarn, "serving /health false; no leader");
    return AnswerHealth(server, *exchange, "RAFT NO LEADER");
  }
  Read(server, serializable,
       [server, exchange = std::move(exchange)](absl::Status status, std::string) {
         if (status.ok()) return AnswerHealth(server, *exchange, "");
         ETCDD_LOG(kWarn, "serving /health false; Range fails", {base::LogField(status)});
         AnswerHealth(server, *exchange, absl::StrCat("RANGE ERROR:", status.message()));
       });
}

std::vector<std::string_view> ChecksOf(std::string_view path) {
  static constexpr std::string_view kLivez = "/livez";
  static constexpr std::string_view kReadyz = "/readyz";
  std::vector<std::string_view> all;
  std::string_view rest;
  if (path.substr(0, kLivez.size()) == kLivez) {
    all = {kSerializableRead};
    rest = path.substr(kLivez.size());
  } else if (path.substr(0, kReadyz.size()) == kReadyz) {
    all = {kDataCorruption, kSerializableRead, kLinearizableRead, kNonLearner};
    rest = path.substr(kReadyz.size());
  }
  if (rest.empty()) return all;
  for (std::string_view name : all) {
    if (rest[0] == '/' && rest.substr(1) == name) return {name};
  }
  return {};
}

void ServeChecks(EtcdServer* server, const Target& target, Exchange exchange) {
  std::vector<std::string_view> names = ChecksOf(target.path);
  if (IsPage(target.path)) {
    std::vector<std::string> unknown;
    for (const std::string& excluded : target.Values("exclude")) {
      if (std::erase(names, excluded) == 0) unknown.push_back(excluded);
    }
    if (!unknown.empty()) {
      ETCDD_LOG(kWarn, "some health checks cannot be excluded",
                {{"missing-health-checks", unknown}});
    }
  }
  std::make_shared<CheckRun>(server, target, std::move(exchange))->Start(names);
}

}  // namespace etcdd::http
