#include "server/net/self_signed.h"

#include <openssl/asn1.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/net/openssl.h"
#include "server/net/tls_verify.h"

namespace etcdd::net {
namespace {

constexpr uint64_t kValidityYearsMax = 1000;
constexpr absl::Duration kYear = absl::Hours(365 * 24);

absl::Status Failure(const char* what) {
  return absl::InternalError(absl::StrCat("cannot ", what, ": ", TakeOpensslError()));
}

std::string Host(const std::string& host_and_port) {
  const size_t colon = host_and_port.rfind(':');
  return WithoutBrackets(colon == std::string::npos ? host_and_port
                                                    : host_and_port.substr(0, colon));
}

// "DNS:localhost,IP:127.0.0.1", in OpenSSL's notation. Hosts that could break it are left out.
std::string SubjectAltNames(const std::vector<std::string>& hosts) {
  std::set<std::string> names;
  for (const std::string& each : hosts) {
    const std::string host = Host(each);
    if (host.empty() || host.find_first_of(",:\n") != std::string::npos) {
      if (IsIpAddress(host)) names.insert("IP:" + host);
      continue;
    }
    names.insert((IsIpAddress(host) ? "IP:" : "DNS:") + host);
  }
  return absl::StrJoin(names, ",");
}

bool AddExtension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

bool SetTime(ASN1_TIME* field, absl::Time time) {
  return ASN1_TIME_set(field, absl::ToTimeT(time)) != nullptr;
}

absl::StatusOr<X509Ptr> MakeCertificate(EVP_PKEY* key, const std::vector<std::string>& hosts,
                                        absl::Time begin, absl::Time end) {
  X509Ptr certificate(X509_new());
  std::array<unsigned char, 16> serial;
  if (certificate == nullptr || RAND_bytes(serial.data(), serial.size()) != 1) {
    return Failure("make a certificate");
  }
  serial[0] &= 0x7f;  // not negative
  const std::unique_ptr<BIGNUM, OpensslFree<BN_free>> number(
      BN_bin2bn(serial.data(), serial.size(), nullptr));
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const auto* organization = reinterpret_cast<const unsigned char*>("etcd");
  const std::string alt_names = SubjectAltNames(hosts);
  const bool made =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) != nullptr &&
      SetTime(X509_getm_notBefore(certificate.get()), begin) &&
      SetTime(X509_getm_notAfter(certificate.get()), end) &&
      X509_set_pubkey(certificate.get(), key) == 1 &&
      X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_UTF8, organization, -1, -1,
                                 0) == 1 &&
      X509_set_issuer_name(certificate.get(), name) == 1 &&
      AddExtension(certificate.get(), NID_basic_constraints, "critical,CA:FALSE") &&
      AddExtension(certificate.get(), NID_key_usage,
                   "critical,digitalSignature,keyEncipherment") &&
      AddExtension(certificate.get(), NID_ext_key_usage, "serverAuth,clientAuth") &&
      (alt_names.empty() || AddExtension(certificate.get(), NID_subject_alt_name, alt_names)) &&
      X509_sign(certificate.get(), key, EVP_sha256()) > 0;
  if (!made) return Failure("make a certificate");
  return certificate;
}

// The new content is complete on disk before it gets the name.
absl::Status WriteFile(base::FileSystem& fs, const std::string& path, BIO* content) {
  char* bytes = nullptr;
  const long count = BIO_get_mem_data(content, &bytes);
  const std::string unfinished = path + ".tmp";
  {
    ETCDD_ASSIGN_OR_RETURN(const std::unique_ptr<base::File> file,
                           fs.Open(unfinished, base::OpenMode::kTruncate));
    ETCDD_RETURN_IF_ERROR(
        file->WriteAt(0, std::string_view(bytes, static_cast<size_t>(count))));
    ETCDD_RETURN_IF_ERROR(file->Sync());
  }
  return fs.Rename(unfinished, path);
}

}  // namespace

absl::StatusOr<SelfSignedFiles> EnsureSelfSigned(base::FileSystem& fs,
                                                 const std::string& directory,
                                                 const std::vector<std::string>& hosts,
                                                 uint64_t validity_years, absl::Time now) {
  if (validity_years == 0 || validity_years > kValidityYearsMax) {
    return absl::InvalidArgumentError(
        "selfSignedCertValidity is invalid,it should be greater than 0");
  }
  const SelfSignedFiles files = {base::JoinPath(directory, "cert.pem"),
                                 base::JoinPath(directory, "key.pem")};
  if (fs.Exists(files.cert_file) && fs.Exists(files.key_file)) return files;
  ETCDD_RETURN_IF_ERROR(fs.CreateDirs(directory));
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Failure("make a key");
  const absl::Time end = now + kYear * static_cast<int64_t>(validity_years);
  ETCDD_LOG(kWarn, "automatically generate certificates",
            {{"certificate-validity-bound-not-after",
              absl::FormatTime(absl::RFC3339_sec, end, absl::UTCTimeZone())}});
  ETCDD_ASSIGN_OR_RETURN(const X509Ptr certificate, MakeCertificate(key.get(), hosts, now, end));
  const BioPtr key_text(BIO_new(BIO_s_mem()));
  const BioPtr cert_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr,
                               nullptr) != 1 ||
      PEM_write_bio_X509(cert_text.get(), certificate.get()) != 1) {
    return Failure("write a certificate");
  }
  ETCDD_RETURN_IF_ERROR(WriteFile(fs, files.key_file, key_text.get()));
  ETCDD_LOG(kInfo, "created key file", {{"path", files.key_file}});
  ETCDD_RETURN_IF_ERROR(WriteFile(fs, files.cert_file, cert_text.get()));
  ETCDD_LOG(kInfo, "created cert file", {{"path", files.cert_file}});
  ETCDD_RETURN_IF_ERROR(fs.SyncDir(directory));
  return files;
}

}  // namespace etcdd::net
