#include "server/membership/member.h"

#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "server/base/coding.h"

namespace etcdd::membership {
namespace {

using Json = nlohmann::ordered_json;

uint64_t Sha1Prefix(std::string_view bytes) {
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return base::ReadBigEndian64(reinterpret_cast<const char*>(digest));
}

// Reads a list of strings; an absent or null field is an empty list.
bool TakeStrings(const Json& object, const char* key, std::vector<std::string>* out) {
  auto found = object.find(key);
  if (found == object.end() || found->is_null()) return true;
  if (!found->is_array()) return false;
  for (const auto& element : *found) {
    if (!element.is_string()) return false;
    out->push_back(element.get<std::string>());
  }
  return true;
}

}  // namespace

uint64_t MakeMemberId(std::vector<std::string> peer_urls, std::string_view suffix) {
  std::sort(peer_urls.begin(), peer_urls.end());
  std::string input;
  for (const auto& url : peer_urls) input += url;
  input += suffix;
  return Sha1Prefix(input);
}

uint64_t MakeClusterId(std::vector<uint64_t> member_ids) {
  std::sort(member_ids.begin(), member_ids.end());
  std::string input;
  for (uint64_t id : member_ids) base::AppendBigEndian64(id, &input);
  return Sha1Prefix(input);
}

namespace {

Json ToJson(const Member& member) {
  Json object;
  object["id"] = member.id;
  object["peerURLs"] = member.peer_urls;
  if (member.is_learner) object["isLearner"] = true;
  if (!member.name.empty()) object["name"] = member.name;
  if (!member.client_urls.empty()) object["clientURLs"] = member.client_urls;
  return object;
}

std::string Text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<MemberChange> ChangeFromJson(const Json& object) {
  const auto error = absl::DataLossError("a member record is not the JSON of a member");
  if (!object.is_object()) return error;
  MemberChange change;
  Member& member = change.member;
  auto id = object.find("id");
  if (id == object.end() || !id->is_number_integer()) return error;
  member.id = id->get<uint64_t>();
  if (auto name = object.find("name"); name != object.end()) {
    if (!name->is_string()) return error;
    member.name = name->get<std::string>();
  }
  if (auto learner = object.find("isLearner"); learner != object.end()) {
    if (!learner->is_boolean()) return error;
    member.is_learner = learner->get<bool>();
  }
  if (auto promote = object.find("isPromote"); promote != object.end()) {
    if (!promote->is_boolean()) return error;
    change.is_promote = promote->get<bool>();
  }
  if (!TakeStrings(object, "peerURLs", &member.peer_urls)) return error;
  if (!TakeStrings(object, "clientURLs", &member.client_urls)) return error;
  return change;
}

}  // namespace

std::string MemberToJson(const Member& member) { return Text(ToJson(member)); }

std::string PromotionToJson(uint64_t id) {
  Json object;
  object["id"] = id;
  object["peerURLs"] = nullptr;
  object["isPromote"] = true;
  return Text(object);
}

std::string MembersToJson(absl::Span<const Member> members) {
  Json array = Json::array();
  for (const Member& member : members) array.push_back(ToJson(member));
  return Text(array);
}

absl::StatusOr<std::vector<Member>> MembersFromJson(std::string_view text) {
  const Json array = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!array.is_array()) return absl::DataLossError("this is not the JSON of a list of members");
  std::vector<Member> members;
  for (const Json& object : array) {
    auto change = ChangeFromJson(object);
    if (!change.ok()) return change.status();
    members.push_back(std::move(change->member));
  }
  return members;
}

absl::StatusOr<MemberChange> MemberChangeFromJson(std::string_view text) {
  return ChangeFromJson(Json::parse(text, nullptr, /*allow_exceptions=*/false));
}

absl::StatusOr<Member> MemberFromJson(std::string_view json) {
  auto change = MemberChangeFromJson(json);
  if (!change.ok()) return change.status();
  return std::move(change->member);
}

uint64_t MemberIdFromText(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  return error == std::errc() && end == text.data() + text.size() ? id : 0;
}

std::string ConfStateToJson(absl::Span<const uint64_t> voters,
                            absl::Span<const uint64_t> learners) {
  Json object = Json::object();
  if (!voters.empty()) object["voters"] = std::vector<uint64_t>(voters.begin(), voters.end());
  if (!learners.empty()) {
    object["learners"] = std::vector<uint64_t>(learners.begin(), learners.end());
  }
  return object.dump();
}

}  // namespace etcdd::membership
