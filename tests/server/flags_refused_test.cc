// Command lines and environments that etcdd refuses, with the texts it says why.

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "cmd/etcdd/flags.h"
#include "tests/server/flags_fixture.h"

namespace etcdd::cmd {
namespace {

struct Refusal {
  Words flags;
  Words environment;
  int exit_code;
  std::string error;
};

std::string NotYet(const std::string& what) {
  return what + " is not supported yet by this version of etcdd";
}

const std::vector<Refusal>& Refusals() {
  static const auto* const cases = new std::vector<Refusal>{
      // The flag library's own: exit code 2.
      {{"--no-such"}, {}, 2, "flag provided but not defined: -no-such"},
      {{"-x"}, {}, 2, "flag provided but not defined: -x"},
      {{"--x=1"}, {}, 2, "flag provided but not defined: -x"},
      {{"--discovery", "http://d"}, {}, 2, "flag provided but not defined: -discovery"},
      {{"--discovery-proxy="}, {}, 2, "flag provided but not defined: -discovery-proxy"},
      {{"---name=a"}, {}, 2, "bad flag syntax: ---name=a"},
      {{"-=a"}, {}, 2, "bad flag syntax: -=a"},
      {{"--name"}, {}, 2, "flag needs an argument: -name"},
      {{"--heartbeat-interval=abc"}, {}, 2,
       "invalid value \"abc\" for flag -heartbeat-interval: parse error"},
      {{"-heartbeat-interval", "abc"}, {}, 2,
       "invalid value \"abc\" for flag -heartbeat-interval: parse error"},
      {{"--heartbeat-interval="}, {}, 2,
       "invalid value \"\" for flag -heartbeat-interval: parse error"},
      {{"--max-wals", "-1"}, {}, 2, "invalid value \"-1\" for flag -max-wals: parse error"},
      {{"--election-timeout=99999999999999999999"}, {}, 2,
       "invalid value \"99999999999999999999\" for flag -election-timeout: value out of range"},
      {{"--max-concurrent-streams=4294967296"}, {}, 2,
       "invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: parsing "
       "\"4294967296\": value out of range"},
      {{"--max-concurrent-streams=x"}, {}, 2,
       "invalid value \"x\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"x\": "
       "invalid syntax"},
      {{"--quota-backend-bytes=1.5"}, {}, 2,
       "invalid value \"1.5\" for flag -quota-backend-bytes: parse error"},
      {{"--grpc-keepalive-timeout=5"}, {}, 2,
       "invalid value \"5\" for flag -grpc-keepalive-timeout: parse error"},
      {{"--pre-vote=maybe"}, {}, 2, "invalid boolean value \"maybe\" for -pre-vote: parse error"},
      {{"--initial-cluster-state=x"}, {}, 2,
       "invalid value \"x\" for flag -initial-cluster-state: invalid value"},
      {{"--v2-deprecation=x"}, {}, 2,
       "invalid value \"x\" for flag -v2-deprecation: invalid value"},
      {{"--listen-client-urls=127.0.0.1:2379"}, {}, 2,
       "invalid value \"127.0.0.1:2379\" for flag -listen-client-urls: parse "
       "\"127.0.0.1:2379\": first path segment in URL cannot contain colon"},
      {{"--listen-client-urls=localhost:2379"}, {}, 2,
       "invalid value \"localhost:2379\" for flag -listen-client-urls: URL scheme must be http, "
       "https, unix, or unixs: localhost:2379"},
      {{"--listen-client-urls=http://127.0.0.1:x"}, {}, 2,
       "invalid value \"http://127.0.0.1:x\" for flag -listen-client-urls: parse "
       "\"http://127.0.0.1:x\": invalid port \":x\" after host"},
      {{"--listen-client-urls=ftp://127.0.0.1:2379"}, {}, 2,
       "invalid value \"ftp://127.0.0.1:2379\" for flag -listen-client-urls: URL scheme must be "
       "http, https, unix, or unixs: ftp://127.0.0.1:2379"},
      {{"--listen-peer-urls=http://127.0.0.1:2380/p"}, {}, 2,
       "invalid value \"http://127.0.0.1:2380/p\" for flag -listen-peer-urls: URL must not contain "
       "a path: http://127.0.0.1:2380/p"},
      {{"--listen-metrics-urls=http://127.0.0.1"}, {}, 2,
       "invalid value \"http://127.0.0.1\" for flag -listen-metrics-urls: URL address does not "
       "have the form \"host:port\": http://127.0.0.1"},
      {{"--feature-gates=Nonsense=true"}, {}, 2,
       "invalid value \"Nonsense=true\" for flag -feature-gates: unrecognized feature gate: "
       "Nonsense"},
      {{"--feature-gates=LeaseCheckpoint"}, {}, 2,
       "invalid value \"LeaseCheckpoint\" for flag -feature-gates: missing bool value for "
       "LeaseCheckpoint"},
      // The first mistake of the line is the one reported.
      {{"--pre-vote=maybe", "--no-such"}, {}, 2,
       "invalid boolean value \"maybe\" for -pre-vote: parse error"},
      {{"--no-such", "--pre-vote=maybe"}, {}, 2, "flag provided but not defined: -no-such"},

      // Words that are no flags.
      {{"start"}, {}, 1, "\"start\" is not a valid flag"},
      {{"--pre-vote", "false"}, {}, 1, "\"false\" is not a valid flag"},
      {{"--name", "a", "--", "--no-such"}, {}, 1, "\"--no-such\" is not a valid flag"},
      {{"-"}, {}, 1, "\"-\" is not a valid flag"},
      {{"a\"b"}, {}, 1, "\"a\\\"b\" is not a valid flag"},
      {{"gateway", "start"}, {}, 1, NotYet("the command gateway")},
      {{"grpc-proxy", "start"}, {}, 1, NotYet("the command grpc-proxy")},

      // Variables.
      {{}, {"ETCD_HEARTBEAT_INTERVAL=abc"}, 1,
       "invalid value \"abc\" for ETCD_HEARTBEAT_INTERVAL: parse error"},
      {{}, {"ETCD_PRE_VOTE=maybe"}, 1, "invalid value \"maybe\" for ETCD_PRE_VOTE: parse error"},
      {{}, {"ETCD_INITIAL_CLUSTER_STATE=x"}, 1,
       "invalid value \"x\" for ETCD_INITIAL_CLUSTER_STATE: invalid value"},

      // Values that do not fit together.
      {{"--heartbeat-interval=0"}, {}, 1, "--heartbeat-interval must be >0 (set to 0ms)"},
      {{"--election-timeout=0"}, {}, 1, "--election-timeout must be >0 (set to 0ms)"},
      {{"--election-timeout=499"}, {}, 1,
       "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]"},
      {{"--heartbeat-interval=4611686018427387904"}, {}, 1,
       "--election-timeout[1000ms] should be at least as 5 times as "
       "--heartbeat-interval[4611686018427387904ms]"},
      {{"--election-timeout=50001"}, {}, 1,
       "--election-timeout[50001ms] is too long, and should be set less than 50000ms"},
      {{"--listen-client-urls=http://127.0.0.1:2379"}, {}, 1,
       "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
      {{}, {"ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:2379"}, 1,
       "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
      {{"--listen-client-urls=", "--advertise-client-urls=http://a:1"}, {}, 1,
       "--listen-client-urls must not be empty"},
      {{"--listen-peer-urls=http://example.com:2380"}, {}, 1,
       "expected IP in URL for binding (http://example.com:2380)"},
      {{"--listen-metrics-urls=http://:2381"}, {}, 1,
       "expected IP in URL for binding (http://:2381)"},
      {{"--initial-advertise-peer-urls=http://:2380"}, {}, 1,
       "--initial-advertise-peer-urls \"http://:2380\" must be \"host:port\" (unexpected empty "
       "host (http://:2380))"},
      {{"--advertise-client-urls=http://:2379"}, {}, 1,
       "--advertise-client-urls \"http://:2379\" must be in the format \"scheme://host:port\" "
       "(unexpected empty host (http://:2379))"},
      {{"--auto-compaction-mode=x"}, {}, 1, "unknown auto-compaction-mode \"x\""},
      {{"--auto-compaction-mode="}, {}, 1, "undefined auto-compaction-mode"},
      {{"--auto-compaction-retention=x"}, {}, 1,
       "error parsing CompactionRetention: time: invalid duration \"x\""},
      {{"--auto-compaction-mode=revision", "--auto-compaction-retention=5m"}, {}, 1,
       "error parsing CompactionRetention: time: invalid duration \"5m\""},
      {{"--initial-cluster=default"}, {}, 1, "--initial-cluster: empty URL given for \"default\""},
      {{"--discovery-token=t"}, {}, 1,
       "both --discovery-token and --discovery-endpoints must be set"},
      {{"--discovery-endpoints=http://d:1"}, {}, 1,
       "both --discovery-token and --discovery-endpoints must be set"},
      {{"--discovery-endpoints= ,", "--discovery-token=t"}, {}, 1,
       "both --discovery-token and --discovery-endpoints must be set"},
      {{"--discovery-fallback=proxy"}, {}, 1,
       "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\""},
      {{"--discovery-fallback=x"}, {}, 2,
       "invalid value \"x\" for flag -discovery-fallback: invalid value"},
      {{"--discovery-dial-timeout=0s"}, {}, 1, "--discovery-dial-timeout must be >0 (set to 0s)"},
      {{"--discovery-request-timeout=-1s"}, {}, 1,
       "--discovery-request-timeout must be >0 (set to -1s)"},
      {{"--discovery-endpoints=http://d:1", "--discovery-srv=example.com"}, {}, 1,
       "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
       "\"discovery-endpoints\" or \"discovery-srv\""},
      {{"--initial-cluster=a=http://h:1", "--discovery-srv=example.com"}, {}, 1,
       "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
       "\"discovery-endpoints\" or \"discovery-srv\""},
      {{"--compact-hash-check-time=0s"}, {}, 1,
       "--compact-hash-check-time must be >0 (set to 0s)"},
      {{"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"}, {}, 1,
       "min version (TLS1.3) is greater than max version (TLS1.2)"},
      {{"--tls-max-version=TLS1.1"}, {}, 1,
       "unexpected TLS version \"TLS1.1\", must be one of: TLS1.2, TLS1.3"},
      {{"--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://h:2379",
        "--cert-file=a"},
       {}, 1,
       "TLS key/cert (--cert-file, --key-file) must be provided for client url "
       "https://127.0.0.1:2379 with HTTPS scheme"},
      {{"--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"}, {}, 1,
       "cipher suites cannot be configured when only TLS1.3 is enabled"},
      {{"--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://h:2379"},
       {}, 1,
       "TLS key/cert (--cert-file, --key-file) must be provided for client url "
       "https://127.0.0.1:2379 with HTTPS scheme"},
      {{"--listen-metrics-urls=https://127.0.0.1:2381"}, {}, 1,
       "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"},
      {{"--listen-client-urls=http://127.0.0.1:9", "--advertise-client-urls=http://h:9",
        "--listen-client-http-urls=http://127.0.0.1:9"},
       {}, 1,
       "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url "
       "http://127.0.0.1:9"},
      {{"--feature-gates=LeaseCheckpointPersist=true"}, {}, 1,
       "enabling feature gate LeaseCheckpointPersist requires enabling feature gate "
       "LeaseCheckpoint"},
      {{"--log-level=loud"}, {}, 1, "unrecognized level: \"loud\""},
      {{"--logger=capnslog"}, {}, 1, "unknown logger option \"capnslog\""},
      {{"--name="}, {}, 1, "--name must not be empty"},
      {{"--compaction-batch-limit=-1"}, {}, 1, "--compaction-batch-limit must be >0 (set to -1)"},

      // Not there yet.
      {{"--config-file=/etc/etcd.yaml"}, {}, 1, NotYet("--config-file")},
      {{}, {"ETCD_CONFIG_FILE=/etc/etcd.yaml"}, 1, NotYet("--config-file")},
      {{"--cors=http://example.com"}, {}, 1,
       "invalid value \"http://example.com\" for flag -cors: URL address does not have the form "
       "\"host:port\": http://example.com"},
      {{"--auth-token=jwt,sign-method=RS256"}, {}, 1, NotYet("--auth-token")},
      {{"--bcrypt-cost=12"}, {}, 1, NotYet("--bcrypt-cost")},
      {{"--log-outputs=stdout"}, {}, 1, NotYet("--log-outputs stdout")},
      {{"--log-format=console"}, {}, 1, NotYet("--log-format console")},
      {{"--metrics=extensive"}, {}, 1, NotYet("--metrics extensive")},
      {{"--listen-peer-urls=unix://p.sock"}, {}, 1,
       NotYet("--listen-peer-urls with the scheme unix")},
      {{"--feature-gates=CompactHashCheck=true"}, {}, 1,
       NotYet("--feature-gates CompactHashCheck=true")},
      {{"--feature-gates=AllAlpha=true"}, {}, 1,
       NotYet("--feature-gates StopGRPCServiceOnDefrag=true")},
      // etcd's own refusal comes before ours.
      {{"--enable-pprof", "--heartbeat-interval=0"}, {}, 1,
       "--heartbeat-interval must be >0 (set to 0ms)"},
  };
  return *cases;
}

TEST(Flags, RefusedStarts) {
  for (const Refusal& refusal : Refusals()) {
    SCOPED_TRACE(absl::StrJoin(refusal.flags, " ") + " | " +
                 absl::StrJoin(refusal.environment, " "));
    const ParsedFlags parsed = Parse(refusal.flags, refusal.environment);
    EXPECT_FALSE(parsed.run);
    EXPECT_EQ(parsed.exit_code, refusal.exit_code);
    EXPECT_EQ(ErrorOf(parsed), refusal.error);
    EXPECT_EQ(parsed.standard_output, "");
    if (refusal.exit_code == 2) {
      // The flag library writes no log lines, but the usage.
      EXPECT_THAT(parsed.notices, testing::IsEmpty());
      EXPECT_THAT(parsed.standard_error, testing::HasSubstr("Usage:"));
    }
  }
}

}  // namespace
}  // namespace etcdd::cmd
