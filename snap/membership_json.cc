#include "snap/membership_json.h"

#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace etcdd::snap {
namespace {

// Length of the UTF-8 sequence at the front of `text`, 0 when there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  const size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3
                        : lead < 0xf5 ? 4 : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and numbers beyond the last one.
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) >= 0xa0) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) >= 0x90) return 0;
  return length;
}

// A JSON string, escaped as Go's encoder does.
std::string Quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const std::string_view unit = text.substr(0, length == 0 ? 1 : length);
    const char c = unit[0];
    if (length == 0) {
      out += "\\ufffd";
    } else if (length == 3 && (unit == "\xe2\x80\xa8" || unit == "\xe2\x80\xa9")) {
      out += unit[2] == '\xa8' ? "\\u2028" : "\\u2029";
    } else if (length > 1) {
      out += unit;
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<uint8_t>(c) < 0x20 || c == '<' || c == '>' || c == '&') {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out += c;
    }
    text.remove_prefix(unit.size());
  }
  return out + "\"";
}

std::string QuoteList(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ',';
    out += Quote(text);
  }
  return out + "]";
}

// A node of the v2 store. Children are kept sorted, as Go writes maps.
struct Node {
  bool is_directory = true;
  std::string value;
  std::map<std::string, Node> children;

  Node& Child(const std::string& name) { return children[name]; }
  void SetLeaf(const std::string& name, std::string text) {
    children[name] = Node{false, std::move(text), {}};
  }
};

void AppendNode(const Node& node, const std::string& path, std::string* out) {
  absl::StrAppend(out, "{\"Path\":", Quote(path.empty() ? "/" : path),
                  ",\"CreatedIndex\":0,\"ModifiedIndex\":0,"
                  "\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":",
                  Quote(node.value), ",\"Children\":");
  if (!node.is_directory) {
    absl::StrAppend(out, "null}");
    return;
  }
  absl::StrAppend(out, "{");
  bool first = true;
  for (const auto& [name, child] : node.children) {
    absl::StrAppend(out, first ? "" : ",", Quote(name), ":");
    AppendNode(child, absl::StrCat(path, "/", name), out);
    first = false;
  }
  absl::StrAppend(out, "}}");
}

std::string RaftAttributes(const MemberDescription& member) {
  return absl::StrCat("{\"peerURLs\":", QuoteList(member.peer_urls),
                      member.is_learner ? ",\"isLearner\":true}" : "}");
}

std::string Attributes(const MemberDescription& member) {
  std::string out = "{";
  if (!member.name.empty()) absl::StrAppend(&out, "\"name\":", Quote(member.name));
  if (!member.client_urls.empty()) {
    absl::StrAppend(&out, out.size() > 1 ? "," : "", "\"clientURLs\":",
                    QuoteList(member.client_urls));
  }
  return out + "}";
}

}  // namespace

std::string MembershipJson(const Membership& membership) {
  Node root;
  root.Child("1");
  Node& cluster = root.Child("0");
  Node& members = cluster.Child("members");
  for (const MemberDescription& member : membership.members) {
    Node& node = members.Child(absl::StrFormat("%x", member.id));
    node.SetLeaf("raftAttributes", RaftAttributes(member));
    if (!member.name.empty() || !member.client_urls.empty()) {
      node.SetLeaf("attributes", Attributes(member));
    }
  }
  Node& removed = cluster.Child("removed_members");
  for (const uint64_t id : membership.removed_ids) removed.SetLeaf(absl::StrFormat("%x", id), "");
  if (!membership.cluster_version.empty()) {
    cluster.SetLeaf("version", membership.cluster_version);
  }
  std::string out = "{\"Root\":";
  AppendNode(root, "", &out);
  absl::StrAppend(&out, ",\"CurrentIndex\":0,\"CurrentVersion\":2}");
  return out;
}

}  // namespace etcdd::snap
