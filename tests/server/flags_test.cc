// Real command lines and environments against etcdd's reading of them.

#include "cmd/etcdd/flags.h"

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/version.h"
#include "tests/server/flags_fixture.h"

namespace etcdd::cmd {
namespace {

using server::Config;

// ------------------------------------------------------------------------------------------------
// Accepted starts and what they mean.

struct Meaning {
  Words flags;
  Words environment;
  std::string (*read)(const Config&);
  std::string value;
};

std::string Text(absl::Duration duration) { return base::LogDuration(duration); }
std::string Text(bool value) { return value ? "true" : "false"; }
std::string Text(const std::string& value) { return value; }
template <typename Number>
std::string Text(Number value) {
  return absl::StrCat(value);
}
std::string Text(const std::vector<server::Url>& urls) {
  return absl::StrJoin(server::UrlTexts(urls), ",");
}
std::string Text(const std::vector<server::InitialMember>& members) {
  std::string text;
  for (const auto& member : members) {
    absl::StrAppend(&text, member.name, "=", Text(member.peer_urls));
  }
  return text;
}

#define FIELD(field) +[](const Config& config) { return Text(config.field); }

const std::vector<Meaning>& Meanings() {
  static const auto* const cases = new std::vector<Meaning>{
      // Forms of writing a flag.
      {{"--name=a"}, {}, FIELD(name), "a"},
      {{"-name=a"}, {}, FIELD(name), "a"},
      {{"--name", "a"}, {}, FIELD(name), "a"},
      {{"-name", "a"}, {}, FIELD(name), "a"},
      {{"--name", "-b"}, {}, FIELD(name), "-b"},
      {{"--name=a=b"}, {}, FIELD(name), "a=b"},
      {{"--name=[a,b]"}, {}, FIELD(name), "[a,b]"},
      {{"--name=\"a\""}, {}, FIELD(name), "\"a\""},
      {{"--name=a", "-name=b", "--name", "c"}, {}, FIELD(name), "c"},
      {{"--name=a", "--"}, {}, FIELD(name), "a"},
      {{"--pre-vote=false"}, {}, FIELD(pre_vote), "false"},
      {{"--pre-vote=F"}, {}, FIELD(pre_vote), "false"},
      {{"--unsafe-no-fsync"}, {}, FIELD(unsafe_no_fsync), "true"},
      {{"-force-new-cluster=1", "-name=a"}, {}, FIELD(force_new_cluster), "true"},
      {{"--max-txn-ops=0x10"}, {}, FIELD(txn_ops_max), "16"},
      {{"--max-txn-ops=1_000"}, {}, FIELD(txn_ops_max), "1000"},
      {{"--max-txn-ops=010"}, {}, FIELD(txn_ops_max), "8"},
      {{"--quota-backend-bytes", "-1"}, {}, FIELD(quota_backend_bytes), "-1"},
      {{"--quota-backend-bytes=8589934592"}, {}, FIELD(QuotaBytes()), "8589934592"},

      // Variables.
      {{}, {"ETCD_NAME=a"}, FIELD(name), "a"},
      {{}, {"ETCD_NAME="}, FIELD(name), "default"},
      {{"--name=b"}, {"ETCD_NAME="}, FIELD(name), "b"},
      {{}, {"ETCD_HEARTBEAT_INTERVAL=50"}, FIELD(heartbeat_interval_ms), "50"},
      {{}, {"ETCD_UNSAFE_NO_FSYNC=true"}, FIELD(unsafe_no_fsync), "true"},
      {{}, {"ETCD_NAMES=x", "NAME=y"}, FIELD(name), "default"},
      {{}, {"ETCD_VERSION=3.7.1"}, FIELD(name), "default"},

      // Defaults, and defaults that follow other flags.
      {{}, {}, FIELD(data_dir), "default.etcd"},
      {{"--name=a"}, {}, FIELD(data_dir), "a.etcd"},
      {{"--name=a", "--data-dir=d"}, {}, FIELD(data_dir), "d"},
      {{}, {}, FIELD(initial_cluster), "default=http://localhost:2380"},
      {{"--name=a"}, {}, FIELD(initial_cluster), "a=http://localhost:2380"},
      {{"--initial-advertise-peer-urls=http://h:1,http://g:1"}, {}, FIELD(initial_cluster),
       "default=http://g:1,http://h:1"},
      {{"--initial-cluster= default=http://h:1, default=http://g:1"}, {}, FIELD(initial_cluster),
       "default=http://g:1,http://h:1"},
      {{}, {}, FIELD(listen_client_urls), "http://localhost:2379"},
      {{}, {}, FIELD(listen_metrics_urls), ""},
      {{"--snapshot-count=0"}, {}, FIELD(snapshot_count_entries), "10000"},
      {{"--snapshot-catchup-entries=0"}, {}, FIELD(snapshot_catchup_entries), "5000"},
      {{"--snapshot-catchup-entries=1"}, {}, FIELD(snapshot_catchup_entries), "1"},
      {{}, {}, FIELD(QuotaBytes()), "2147483648"},
      {{"--quota-backend-bytes=-5"}, {}, FIELD(QuotaBytes()), "9223372036854775807"},
      {{}, {}, FIELD(compaction_batch_revisions), "1000"},
      {{}, {}, FIELD(compaction_sleep_interval), "10ms"},
      {{}, {}, FIELD(watch_progress_notify_interval), "10m0s"},
      {{"--watch-progress-notify-interval=5ms"}, {}, FIELD(watch_progress_notify_interval),
       "100ms"},
      {{"--warning-unary-request-duration=0"}, {}, FIELD(warning_unary_request_duration), "300ms"},
      {{"--grpc-keepalive-interval=0"}, {}, FIELD(grpc_keepalive_interval), "0s"},
      {{"--grpc-keepalive-min-time=1m2.5s"}, {}, FIELD(grpc_keepalive_min_time), "1m2.5s"},
      {{"--warning-apply-duration=10\xC2\xB5s"}, {}, FIELD(warning_apply_duration),
       "10\xC2\xB5s"},
      {{}, {}, FIELD(concurrent_streams_max), "4294967295"},
      {{}, {}, FIELD(ElectionTicks()), "10"},
      {{}, {}, FIELD(MinLeaseTtlSeconds()), "2"},
      {{"--election-timeout=50000"}, {}, FIELD(MinLeaseTtlSeconds()), "75"},

      // Lists of URLs.
      {{"--listen-client-urls=http://127.0.0.1:2, http://0.0.0.0:1,http://127.0.0.1:2",
        "--advertise-client-urls=https://example.com:443"},
       {}, FIELD(listen_client_urls), "http://0.0.0.0:1,http://127.0.0.1:2"},
      {{"--listen-client-urls=http://[::1]:2379,unix:///run/etcdd.sock",
        "--advertise-client-urls=http://h:1"},
       {}, FIELD(listen_client_urls), "http://[::1]:2379,unix:///run/etcdd.sock"},

      // Compaction.
      {{}, {}, FIELD(auto_compaction_period), "0s"},
      {{"--auto-compaction-retention=2"}, {}, FIELD(auto_compaction_period), "2h0m0s"},
      {{"--auto-compaction-retention=30m"}, {}, FIELD(auto_compaction_period), "30m0s"},
      {{"--auto-compaction-mode=revision", "--auto-compaction-retention=1000"}, {},
       FIELD(auto_compaction_revisions), "1000"},

      // Gates.
      {{}, {}, FIELD(features.fast_lease_keep_alive), "true"},
      {{"--feature-gates=FastLeaseKeepAlive=false"}, {}, FIELD(features.fast_lease_keep_alive),
       "false"},
      {{"--feature-gates=AllBeta=false,FastLeaseKeepAlive=true"}, {},
       FIELD(features.fast_lease_keep_alive), "true"},
      {{"--feature-gates=AllBeta=false"}, {}, FIELD(features.txn_mode_write_with_shared_buffer),
       "false"},
      {{"--feature-gates=LeaseCheckpoint=true, LeaseCheckpointPersist=true"}, {},
       FIELD(features.lease_checkpoint_persist), "true"},

      // Flags that are not there yet may be set to what they are anyway.
      {{"--auth-token=simple", "--cors=", "--host-whitelist=*", "--enable-pprof=false",
        "--corrupt-check-time=0", "--downgrade-check-time=5000ms", "--max-learners=1",
        "--tls-min-version=TLS1.2", "--name=a"},
       {}, FIELD(name), "a"},
      {{"--cors=http://b:80,https://a:1", "--name=a"}, {},
       FIELD(cors_origins.size()), "2"},
      {{"--host-whitelist=a, b"}, {}, FIELD(host_whitelist.back()), "b"},
      {{"--enable-grpc-gateway=false"}, {}, FIELD(grpc_gateway), "false"},
      // Flags without effect take any value.
      {{"--backend-batch-interval=1s", "--backend-batch-limit=5",
        "--backend-bbolt-freelist-type=array", "--bootstrap-defrag-threshold-megabytes=10",
        "--name=a"},
       {}, FIELD(name), "a"},
      {{"--log-outputs=stderr", "--logger=zap", "--log-format=json", "--metrics=basic",
        "--name=a"},
       {}, FIELD(name), "a"},
  };
  return *cases;
}

TEST(Flags, AcceptedStarts) {
  for (const Meaning& meaning : Meanings()) {
    SCOPED_TRACE(absl::StrJoin(meaning.flags, " ") + " | " +
                 absl::StrJoin(meaning.environment, " "));
    const ParsedFlags parsed = Parse(meaning.flags, meaning.environment);
    ASSERT_TRUE(parsed.run) << ErrorOf(parsed);
    EXPECT_EQ(meaning.read(parsed.config), meaning.value);
  }
}

TEST(Flags, DefaultConfigEqualsTheConfigWithoutFlags) {
  const ParsedFlags parsed = Parse({});
  const Config defaults;
  ASSERT_TRUE(parsed.run);
  const Config& config = parsed.config;
  EXPECT_EQ(config.name, defaults.name);
  EXPECT_EQ(config.data_dir, defaults.data_dir);
  EXPECT_EQ(config.snapshot_count_entries, defaults.snapshot_count_entries);
  EXPECT_EQ(config.snapshot_catchup_entries, defaults.snapshot_catchup_entries);
  EXPECT_EQ(config.snapshot_files_max, defaults.snapshot_files_max);
  EXPECT_EQ(config.wal_files_max, defaults.wal_files_max);
  EXPECT_EQ(config.heartbeat_interval_ms, defaults.heartbeat_interval_ms);
  EXPECT_EQ(config.election_timeout_ms, defaults.election_timeout_ms);
  EXPECT_EQ(config.pre_vote, defaults.pre_vote);
  EXPECT_EQ(config.strict_reconfig_check, defaults.strict_reconfig_check);
  EXPECT_EQ(config.listen_peer_urls, defaults.listen_peer_urls);
  EXPECT_EQ(config.listen_client_urls, defaults.listen_client_urls);
  EXPECT_EQ(config.initial_advertise_peer_urls, defaults.initial_advertise_peer_urls);
  EXPECT_EQ(config.advertise_client_urls, defaults.advertise_client_urls);
  EXPECT_EQ(Text(config.initial_cluster), Text(defaults.initial_cluster));
  EXPECT_EQ(config.initial_cluster_token, defaults.initial_cluster_token);
  EXPECT_EQ(config.txn_ops_max, defaults.txn_ops_max);
  EXPECT_EQ(config.request_bytes_max, defaults.request_bytes_max);
  EXPECT_EQ(config.concurrent_streams_max, defaults.concurrent_streams_max);
  EXPECT_EQ(config.grpc_keepalive_min_time, defaults.grpc_keepalive_min_time);
  EXPECT_EQ(config.grpc_keepalive_interval, defaults.grpc_keepalive_interval);
  EXPECT_EQ(config.grpc_keepalive_timeout, defaults.grpc_keepalive_timeout);
  EXPECT_EQ(config.auto_compaction_mode, defaults.auto_compaction_mode);
  EXPECT_EQ(config.auto_compaction_period, defaults.auto_compaction_period);
  EXPECT_EQ(config.warning_apply_duration, defaults.warning_apply_duration);
  EXPECT_EQ(config.log_level, defaults.log_level);
}

// ------------------------------------------------------------------------------------------------
// Log lines.

TEST(Flags, AStartLogsItsArguments) {
  const ParsedFlags parsed = Parse({"--name=a", "--data-dir", "d"});
  EXPECT_THAT(NoticeLines(parsed),
              testing::ElementsAre("info Running:  args=/usr/bin/etcdd --name=a --data-dir d"));
}

TEST(Flags, DefaultsWorthAWarningAreLogged) {
  EXPECT_THAT(
      NoticeLines(Parse({})),
      testing::ElementsAre(
          "warn it isn't recommended to use default name, please set a value for --name. Note that "
          "etcd might run into issue when multiple members have the same default name name=default",
          "info Running:  args=/usr/bin/etcdd",
          "warn 'data-dir' was empty; using default data-dir=default.etcd"));
}

TEST(Flags, DeprecatedFlagsAreLogged) {
  const ParsedFlags parsed = Parse({"--name=a", "--data-dir=d", "--max-snapshots=5",
                                    "--v2-deprecation=gone", "--snapshot", "-vv=3"});
  ASSERT_TRUE(parsed.run);
  EXPECT_THAT(
      NoticeLines(parsed),
      testing::ElementsAre(
          "warn flag is no longer supported - ignoring flag-name=snapshot",
          "warn flag is no longer supported - ignoring flag-name=vv",
          "warn --max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
          "warn --v2-deprecation is deprecated and scheduled for removal in v3.8. The default "
          "value is enforced, ignoring user input.",
          testing::HasSubstr("info Running: ")));
}

TEST(Flags, UnknownVariablesAreLoggedAndIgnored) {
  const ParsedFlags parsed =
      Parse({"--name=a", "--data-dir=d"},
            {"ETCD_VERIFY=all", "PATH=/bin", "ETCD_VERSION=3.7.1", "ETCD_MAX_WALS=3", "ETCDX=1"});
  ASSERT_TRUE(parsed.run);
  EXPECT_THAT(
      NoticeLines(parsed),
      testing::ElementsAre(
          "warn unrecognized environment variable environment-variable=ETCD_VERIFY=all",
          "warn unrecognized environment variable environment-variable=ETCD_VERSION=3.7.1",
          testing::HasSubstr("info Running: ")));
}

TEST(Flags, AFlagAndItsVariableTogetherAreFatal) {
  const ParsedFlags parsed = Parse({"--name=a"}, {"ETCD_NAME=a"});
  EXPECT_FALSE(parsed.run);
  EXPECT_EQ(parsed.exit_code, 1);
  EXPECT_THAT(NoticeLines(parsed),
              testing::ElementsAre(
                  "fatal conflicting environment variable is shadowed by corresponding "
                  "command-line flag (either unset environment variable or disable flag)) "
                  "environment-variable=ETCD_NAME"));
}

TEST(Flags, ARefusalIsLoggedBehindTheArguments) {
  EXPECT_THAT(NoticeLines(Parse({"--listen-client-urls=http://127.0.0.1:1"})),
              testing::ElementsAre(
                  testing::HasSubstr("info Running: "),
                  "warn failed to verify flags error=--advertise-client-urls is required when "
                  "--listen-client-urls is set explicitly",
                  "warn advertise client URLs are not set"));
}

// ------------------------------------------------------------------------------------------------
// Help, version, and the table.

TEST(Flags, VersionBeginsWithTheEtcdVersion) {
  for (const Words& flags : {Words{"--version"}, Words{"-version=true"}, Words{"--version", "x"}}) {
    const ParsedFlags parsed = Parse(flags, {"ETCD_HEARTBEAT_INTERVAL=abc"});
    EXPECT_FALSE(parsed.run);
    EXPECT_EQ(parsed.exit_code, 0);
    EXPECT_EQ(parsed.standard_error, "");
    const Words lines = absl::StrSplit(parsed.standard_output, '\n');
    ASSERT_GE(lines.size(), 4u);
    EXPECT_EQ(lines[0], "etcd Version: 3.7.1");
    EXPECT_EQ(lines[1], absl::StrCat("etcdd Version: ", std::string(server::kEtcddVersion)));
  }
}

TEST(Flags, HelpNamesEveryFlagInItsGroup) {
  for (const char* flag : {"-h", "--h", "-help", "--help"}) {
    const ParsedFlags parsed = Parse({flag});
    EXPECT_FALSE(parsed.run);
    EXPECT_EQ(parsed.exit_code, 0);
    EXPECT_THAT(parsed.standard_error, testing::StartsWith("Usage:"));
    for (const FlagRow& row : AllFlags()) {
      const std::string name = absl::StrCat("--", std::string(row.name), " ");
      const bool hidden = row.support == FlagSupport::kDropped;
      EXPECT_EQ(absl::StrContains(parsed.standard_output, name), !hidden) << name;
    }
    EXPECT_THAT(parsed.standard_output, testing::HasSubstr("Unsafe features"));
  }
}

FlagValues ValuesOf(const std::map<std::string, std::string>& texts) {
  FlagValues values;
  for (const auto& [name, text] : texts) values.Set(*FindFlag(name), text);
  return values;
}

TEST(Flags, DiscoveryFlagsFillTheirPartOfTheConfig) {
  auto config = MakeConfig(ValuesOf({{"discovery-endpoints", "http://a:1, b:2,"},
                                     {"discovery-token", "t"},
                                     {"discovery-dial-timeout", "3s"},
                                     {"discovery-request-timeout", "7s"},
                                     {"discovery-insecure-transport", "false"},
                                     {"discovery-insecure-skip-tls-verify", "true"},
                                     {"discovery-cert", "c.pem"},
                                     {"discovery-key", "k.pem"},
                                     {"discovery-cacert", "ca.pem"},
                                     {"discovery-user", "u:p:q"},
                                     {"discovery-srv-name", "x"}}));
  ASSERT_TRUE(config.ok()) << config.status();
  const server::DiscoveryConfig& discovery = config->discovery;
  EXPECT_TRUE(discovery.UsesRegistry());
  EXPECT_FALSE(discovery.UsesDns());
  EXPECT_THAT(discovery.endpoints, testing::ElementsAre("http://a:1", "b:2"));
  EXPECT_EQ(discovery.token, "t");
  EXPECT_EQ(discovery.dial_timeout, absl::Seconds(3));
  EXPECT_EQ(discovery.request_timeout, absl::Seconds(7));
  EXPECT_FALSE(discovery.insecure_transport);
  EXPECT_TRUE(discovery.insecure_skip_tls_verify);
  EXPECT_EQ(discovery.cert_file, "c.pem");
  EXPECT_EQ(discovery.key_file, "k.pem");
  EXPECT_EQ(discovery.ca_file, "ca.pem");
  EXPECT_EQ(discovery.user, "u");
  EXPECT_EQ(discovery.password, "p:q");
  EXPECT_EQ(discovery.srv_name, "x");

  config = MakeConfig(ValuesOf({{"discovery-srv", "example.com"},
                                {"discovery-user", "u:v"},
                                {"discovery-password", "p"}}));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->discovery.srv_domain, "example.com");
  EXPECT_TRUE(config->discovery.UsesDns());
  EXPECT_EQ(config->discovery.user, "u:v");
  EXPECT_EQ(config->discovery.password, "p");

  config = MakeConfig(FlagValues());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->discovery.UsesRegistry() || config->discovery.UsesDns());
  EXPECT_TRUE(config->discovery.insecure_transport);
  EXPECT_EQ(config->discovery.dial_timeout, absl::Seconds(2));
  EXPECT_EQ(config->discovery.request_timeout, absl::Seconds(5));
}

std::vector<std::map<std::string, std::string>> ReadTable(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  const Words columns = absl::StrSplit(line, '\t');
  std::vector<std::map<std::string, std::string>> rows;
  while (std::getline(in, line)) {
    const Words cells = absl::StrSplit(line, '\t');
    auto& row = rows.emplace_back();
    for (size_t i = 0; i < cells.size() && i < columns.size(); ++i) row[columns[i]] = cells[i];
  }
  return rows;
}

TEST(Flags, TheTableHasExactlyTheFlagsOfEtcdWithTheirDefaults) {
  std::map<std::string, std::string> expected;
  for (auto& row : ReadTable("tests/server/testdata/server-flags.tsv")) {
    // Rows without a type are names that only etcd's help text still has.
    if (row["command"] != "etcd" || row["type"] == "-") continue;
    std::string value = row["default"];
    if (absl::StartsWith(value, "(empty")) value.clear();
    expected[row["flag"]] = value.substr(0, value.find(" (->"));
    EXPECT_EQ(row["env"], VariableName(row["flag"]));
    const FlagRow* ours = FindFlag(row["flag"]);
    ASSERT_NE(ours, nullptr) << row["flag"];
    EXPECT_EQ(ours->support == FlagSupport::kDropped, row["status"] == "ignored") << row["flag"];
    EXPECT_EQ(ours->type == FlagType::kBool, row["type"] == "bool") << row["flag"];
  }
  EXPECT_EQ(expected.size(), 128u);
  std::map<std::string, std::string> actual;
  for (const FlagRow& row : AllFlags()) {
    actual[std::string(row.name)] = std::string(row.default_text);
    if (row.type != FlagType::kDropped) {
      EXPECT_TRUE(CheckText(row, row.default_text).ok()) << row.name;
    }
  }
  EXPECT_EQ(actual, expected);
}

TEST(Flags, EveryGateOfEtcdIsKnown) {
  int gates = 0;
  for (auto& row : ReadTable("tests/server/testdata/server-flags.tsv")) {
    if (row["command"] != "feature-gate") continue;
    ++gates;
    EXPECT_TRUE(ParseFeatureGates(row["flag"] + "=" + row["default"]).ok()) << row["flag"];
  }
  EXPECT_EQ(gates, 11);
}

// The page tells users what the table says.
TEST(Flags, TheCompatibilityPageListsWhatIsNotSupportedYet) {
  std::ifstream in("docs/compatibility.md");
  std::set<std::string> listed;
  std::set<std::string> without_effect;
  std::set<std::string>* section = nullptr;
  for (std::string line; std::getline(in, line);) {
    if (absl::StartsWith(line, "## ")) section = nullptr;
    if (line == "## Flags not supported yet") section = &listed;
    if (line == "## Flags without effect") section = &without_effect;
    if (section == nullptr || !absl::StartsWith(line, "| `--")) continue;
    const Words cells = absl::StrSplit(line, '|');
    const Words words = absl::StrSplit(cells.at(1), absl::ByAnyChar(" ,`"), absl::SkipEmpty());
    for (const std::string& word : words) {
      if (absl::StartsWith(word, "--")) section->insert(word.substr(2));
    }
  }
  std::set<std::string> not_yet;
  std::set<std::string> no_effect;
  for (const FlagRow& row : AllFlags()) {
    if (row.support == FlagSupport::kNotYet) not_yet.insert(std::string(row.name));
    if (row.support == FlagSupport::kNoEffect) no_effect.insert(std::string(row.name));
  }
  EXPECT_EQ(listed, not_yet);
  EXPECT_EQ(without_effect, no_effect);
}

}  // namespace
}  // namespace etcdd::cmd
