// Compares the descriptors compiled into the server with tables of etcd's API: every row must be
// found in the descriptors, and everything in the descriptors must be a row.

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/health.pb.h"
#include "proto/lease.pb.h"
#include "proto/raft_internal.pb.h"
#include "proto/rpc.pb.h"
#include "proto/snap.pb.h"
#include "proto/v3election.pb.h"
#include "proto/v3lock.pb.h"
#include "proto/version.pb.h"
#include "proto/wal.pb.h"
#include "proto/wal_metadata.pb.h"

namespace etcdd {
namespace {

namespace pb = google::protobuf;

using Row = std::map<std::string, std::string>;

// Tests run in the root of the source tree.
std::vector<Row> ReadTable(const std::string& name) {
  std::ifstream in("tests/conformance/testdata/" + name);
  std::string line;
  std::getline(in, line);
  const std::vector<std::string> columns = absl::StrSplit(line, '\t');
  std::vector<Row> rows;
  while (std::getline(in, line)) {
    const std::vector<std::string> cells = absl::StrSplit(line, '\t');
    EXPECT_EQ(cells.size(), columns.size()) << name << ": " << line;
    Row& row = rows.emplace_back();
    for (size_t i = 0; i < cells.size() && i < columns.size(); ++i) row[columns[i]] = cells[i];
  }
  return rows;
}

// Naming one message of each file also makes the linker keep the file's descriptors.
std::vector<const pb::FileDescriptor*> EtcdFiles() {
  return {etcdserverpb::RangeRequest::descriptor()->file(),
          etcdserverpb::InternalRaftRequest::descriptor()->file(),
          etcdserverpb::Metadata::descriptor()->file(),
          mvccpb::KeyValue::descriptor()->file(),
          authpb::User::descriptor()->file(),
          membershippb::Member::descriptor()->file(),
          leasepb::Lease::descriptor()->file(),
          v3electionpb::LeaderKey::descriptor()->file(),
          v3lockpb::LockRequest::descriptor()->file(),
          snappb::snapshot::descriptor()->file(),
          walpb::Record::descriptor()->file(),
          raftpb::Message::descriptor()->file(),
          pb::DescriptorPool::generated_pool()->FindFileByName("proto/version.proto")};
}

std::string NameInPackage(const std::string& full_name, const pb::FileDescriptor* file) {
  return full_name.substr(file->package().size() + 1);
}

std::string TypeName(const pb::FieldDescriptor* field) {
  if (field->message_type() != nullptr) return field->message_type()->full_name();
  if (field->enum_type() != nullptr) return field->enum_type()->full_name();
  return field->type_name();
}

// The columns that name a contract, joined; "since" last.
std::string Line(const std::vector<std::string>& cells) {
  std::string line;
  for (const std::string& cell : cells) absl::StrAppend(&line, line.empty() ? "" : " | ", cell);
  return line;
}

std::string Since(const pb::FieldDescriptor* field) {
  const std::string& own = field->options().GetExtension(versionpb::etcd_version_field);
  if (!own.empty()) return own;
  return field->containing_type()->options().GetExtension(versionpb::etcd_version_msg);
}

std::string Since(const pb::EnumValueDescriptor* value) {
  const std::string& own = value->options().GetExtension(versionpb::etcd_version_enum_value);
  if (!own.empty()) return own;
  return value->type()->options().GetExtension(versionpb::etcd_version_enum);
}

const char* SyntaxName(const pb::FileDescriptor* file) {
  return file->syntax() == pb::FileDescriptor::SYNTAX_PROTO2 ? "proto2" : "proto3";
}

void AddMessage(const pb::Descriptor* message, std::set<std::string>* lines) {
  const pb::FileDescriptor* file = message->file();
  const std::string name = NameInPackage(message->full_name(), file);
  const auto add = [&](const std::string& field, const std::string& number,
                       const std::string& type, const std::string& label,
                       const std::string& oneof, const std::string& since) {
    const std::string line = Line(
        {file->package(), SyntaxName(file), name, field, number, type, label, oneof, since});
    EXPECT_TRUE(lines->insert(line).second) << line;
  };
  if (message->field_count() == 0) {
    add("-", "-", "-", "(no fields)", "",
        message->options().GetExtension(versionpb::etcd_version_msg));
  }
  for (int i = 0; i < message->field_count(); ++i) {
    const pb::FieldDescriptor* field = message->field(i);
    // etcd uses neither maps nor defaults.
    EXPECT_FALSE(field->is_map()) << field->full_name();
    EXPECT_FALSE(field->has_default_value()) << field->full_name();
    const pb::OneofDescriptor* oneof = field->containing_oneof();
    add(field->name(), absl::StrCat(field->number()), TypeName(field),
        field->is_repeated() ? "repeated" : field->is_required() ? "required" : "optional",
        oneof == nullptr ? "" : oneof->name(), Since(field));
  }
  for (int i = 0; i < message->reserved_range_count(); ++i) {
    const pb::Descriptor::ReservedRange* range = message->reserved_range(i);
    for (int number = range->start; number < range->end; ++number) {
      add("(reserved)", absl::StrCat(number), "-", "reserved", "", "");
    }
  }
  for (int i = 0; i < message->reserved_name_count(); ++i) {
    add(absl::StrCat("(reserved name \"", message->reserved_name(i), "\")"), "-", "-", "reserved",
        "", "");
  }
  for (int i = 0; i < message->nested_type_count(); ++i) {
    AddMessage(message->nested_type(i), lines);
  }
}

void AddEnum(const pb::EnumDescriptor* type, std::set<std::string>* lines) {
  const pb::FileDescriptor* file = type->file();
  for (int i = 0; i < type->value_count(); ++i) {
    const pb::EnumValueDescriptor* value = type->value(i);
    lines->insert(Line({file->package(), NameInPackage(type->full_name(), file), value->name(),
                        absl::StrCat(value->number()), Since(value)}));
  }
}

TEST(ProtoConformance, MessagesEqualTheTable) {
  std::set<std::string> expected;
  for (Row& row : ReadTable("proto-messages.tsv")) {
    std::string label = row["label"];
    if (label == "optional (explicit)") label = "optional";
    const std::string line =
        Line({row["package"], row["syntax"], row["message"], row["field"], row["number"],
              row["type"], label, row["oneof"], row["since"]});
    EXPECT_TRUE(expected.insert(line).second) << line;
    EXPECT_EQ(row["default"] + row["deprecated"], "");
  }
  EXPECT_EQ(expected.size(), 384u);

  std::set<std::string> actual;
  for (const pb::FileDescriptor* file : EtcdFiles()) {
    for (int i = 0; i < file->message_type_count(); ++i) AddMessage(file->message_type(i), &actual);
    for (int i = 0; i < file->extension_count(); ++i) {
      const pb::FieldDescriptor* field = file->extension(i);
      EXPECT_TRUE(field->has_optional_keyword()) << field->full_name();
      actual.insert(Line({file->package(), SyntaxName(file),
                          "extend " + field->containing_type()->full_name(), field->name(),
                          absl::StrCat(field->number()), TypeName(field), "optional", "", ""}));
    }
  }
  EXPECT_THAT(actual, testing::ContainerEq(expected));
}

TEST(ProtoConformance, EnumsEqualTheTable) {
  std::set<std::string> expected;
  for (Row& row : ReadTable("proto-enums.tsv")) {
    expected.insert(
        Line({row["package"], row["enum"], row["value"], row["number"], row["since"]}));
  }
  EXPECT_EQ(expected.size(), 67u);

  std::set<std::string> actual;
  for (const pb::FileDescriptor* file : EtcdFiles()) {
    for (int i = 0; i < file->enum_type_count(); ++i) AddEnum(file->enum_type(i), &actual);
    for (int i = 0; i < file->message_type_count(); ++i) {
      const pb::Descriptor* message = file->message_type(i);
      for (int j = 0; j < message->enum_type_count(); ++j) AddEnum(message->enum_type(j), &actual);
    }
  }
  EXPECT_THAT(actual, testing::ContainerEq(expected));
}

TEST(ProtoConformance, ServicesEqualTheTable) {
  std::set<std::string> expected;
  for (Row& row : ReadTable("grpc-services.tsv")) {
    EXPECT_EQ(row["wire_path"], "/" + row["service"] + "/" + row["rpc"]);
    // A second gateway route of an RPC is a row of its own; the set folds them.
    expected.insert(Line({row["service"], row["rpc"], row["request"], row["response"],
                          row["client_streaming"], row["server_streaming"]}));
  }
  EXPECT_EQ(expected.size(), 52u);

  std::vector<const pb::FileDescriptor*> files = EtcdFiles();
  files.push_back(grpc::health::v1::HealthCheckRequest::descriptor()->file());
  std::set<std::string> actual;
  for (const pb::FileDescriptor* file : files) {
    for (int i = 0; i < file->service_count(); ++i) {
      const pb::ServiceDescriptor* service = file->service(i);
      for (int j = 0; j < service->method_count(); ++j) {
        const pb::MethodDescriptor* method = service->method(j);
        actual.insert(Line({service->full_name(), method->name(),
                            method->input_type()->full_name(), method->output_type()->full_name(),
                            method->client_streaming() ? "true" : "false",
                            method->server_streaming() ? "true" : "false"}));
      }
    }
  }
  EXPECT_THAT(actual, testing::ContainerEq(expected));
}

TEST(ProtoConformance, Proto2ScalarsSetToZeroAreWritten) {
  raftpb::HardState state;
  EXPECT_EQ(state.SerializeAsString(), "");
  state.set_term(1);
  state.set_vote(0);
  state.set_commit(0);
  EXPECT_EQ(state.SerializeAsString(), std::string("\x08\x01\x10\x00\x18\x00", 6));
}

TEST(ProtoConformance, RepeatedScalarsUseTheEncodingOfTheirSyntax) {
  // proto2 writes one tag per element, proto3 packs them.
  raftpb::ConfState conf;
  conf.add_voters(1);
  conf.add_voters(2);
  EXPECT_EQ(conf.SerializeAsString(), std::string("\x08\x01\x08\x02", 4));
  etcdserverpb::WatchCreateRequest create;
  create.add_filters(etcdserverpb::WatchCreateRequest::NODELETE);
  EXPECT_EQ(create.SerializeAsString(), std::string("\x2a\x01\x01", 3));
}

}  // namespace
}  // namespace etcdd
