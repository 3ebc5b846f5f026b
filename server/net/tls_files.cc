#include "server/net/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/net/limits.h"

namespace etcdd::net {
namespace {

absl::StatusOr<std::string> ReadWhole(base::FileSystem& fs, const std::string& path) {
  ETCDD_ASSIGN_OR_RETURN(const std::unique_ptr<base::File> file,
                         fs.Open(path, base::OpenMode::kRead));
  std::string content;
  ETCDD_RETURN_IF_ERROR(file->ReadAt(0, kTlsFileBytesMax + 1, &content));
  if (content.size() > kTlsFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is longer than ", kTlsFileBytesMax, " bytes"));
  }
  return content;
}

BioPtr MemoryBio(const std::string& content) {
  return BioPtr(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
}

absl::Status Bad(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

// Keys are not asked a passphrase for: nobody sits at the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

// True when the queue says that the PEM text simply ended. Empties the queue.
bool EndOfPem() {
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

// All of one kind in a PEM text. `read` is one of OpenSSL's PEM_read_bio_X functions.
template <typename Pointer, typename Read>
absl::StatusOr<std::vector<Pointer>> ReadAll(const std::string& path, const std::string& content,
                                             Read read) {
  const BioPtr bio = MemoryBio(content);
  ERR_clear_error();
  std::vector<Pointer> all;
  while (auto* one = read(bio.get(), nullptr, NoPassphrase, nullptr)) all.emplace_back(one);
  if (!EndOfPem()) return Bad(path, "tls: malformed PEM data");
  return all;
}

}  // namespace

FileStamp StampOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
  FileStamp stamp;
  stamp.device = info.st_dev;
  stamp.inode = info.st_ino;
  stamp.bytes = info.st_size;
  stamp.modified_ns = info.st_mtim.tv_sec * kNanosecondsPerSecond + info.st_mtim.tv_nsec;
  stamp.changed_ns = info.st_ctim.tv_sec * kNanosecondsPerSecond + info.st_ctim.tv_nsec;
  return stamp;
}

absl::StatusOr<CertificateAndKey> LoadCertificateAndKey(base::FileSystem& fs,
                                                        const std::string& cert_file,
                                                        const std::string& key_file) {
  CertificateAndKey result;
  ETCDD_ASSIGN_OR_RETURN(result.intermediates, LoadCertificates(fs, cert_file));
  result.leaf = std::move(result.intermediates.front());
  result.intermediates.erase(result.intermediates.begin());
  ETCDD_ASSIGN_OR_RETURN(const std::string content, ReadWhole(fs, key_file));
  ERR_clear_error();
  result.key.reset(
      PEM_read_bio_PrivateKey(MemoryBio(content).get(), nullptr, NoPassphrase, nullptr));
  if (result.key == nullptr) {
    ERR_clear_error();
    const bool pem = content.find("-----BEGIN ") != std::string::npos;
    return Bad(key_file, pem ? "tls: failed to parse private key"
                             : "tls: failed to find any PEM data in key input");
  }
  if (X509_check_private_key(result.leaf.get(), result.key.get()) != 1) {
    ERR_clear_error();
    return Bad(key_file, absl::StrCat("tls: private key does not match public key of ", cert_file));
  }
  return result;
}

absl::StatusOr<std::vector<X509Ptr>> LoadCertificates(base::FileSystem& fs,
                                                      const std::string& path) {
  ETCDD_ASSIGN_OR_RETURN(const std::string content, ReadWhole(fs, path));
  ETCDD_ASSIGN_OR_RETURN(std::vector<X509Ptr> all,
                         ReadAll<X509Ptr>(path, content, PEM_read_bio_X509));
  if (all.empty()) return Bad(path, "tls: failed to find any PEM data in certificate input");
  return all;
}

std::string SerialBytes(const ASN1_INTEGER* serial) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
          static_cast<size_t>(ASN1_STRING_length(serial))};
}

absl::StatusOr<RevokedSerials> LoadRevokedSerials(base::FileSystem& fs, const std::string& path) {
  ETCDD_ASSIGN_OR_RETURN(const std::string content, ReadWhole(fs, path));
  ETCDD_ASSIGN_OR_RETURN(std::vector<CrlPtr> lists,
                         ReadAll<CrlPtr>(path, content, PEM_read_bio_X509_CRL));
  if (lists.empty()) {
    CrlPtr der(d2i_X509_CRL_bio(MemoryBio(content).get(), nullptr));
    ERR_clear_error();
    if (der == nullptr) return Bad(path, "holds no certificate revocation list");
    lists.push_back(std::move(der));
  }
  RevokedSerials serials;
  for (const CrlPtr& list : lists) {
    const STACK_OF(X509_REVOKED)* revoked = X509_CRL_get_REVOKED(list.get());
    for (int i = 0; revoked != nullptr && i < sk_X509_REVOKED_num(revoked); ++i) {
      serials.insert(
          SerialBytes(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(revoked, i))));
    }
  }
  return serials;
}

}  // namespace etcdd::net
