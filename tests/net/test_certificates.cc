#include "tests/net/test_certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

#include "server/base/check.h"
#include "server/base/clock.h"

namespace etcdd::net {
namespace {

time_t FromNow(absl::Duration by) {
  return absl::ToTimeT(base::NewSystemClock()->Wall() + by);
}

std::string Content(BIO* bio) {
  char* bytes = nullptr;
  const long count = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<size_t>(count)};
}

std::string CertificatePem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  ETCDD_CHECK(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return Content(bio.get());
}

void Extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  ETCDD_CHECK_MSG(extension != nullptr, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509Ptr Certificate(const CertificateRequest& request, EVP_PKEY* key) {
  X509Ptr certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate.get()), request.serial);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), FromNow(request.begins));
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), FromNow(request.ends));
  X509_set_pubkey(certificate.get(), key);
  if (!request.common_name.empty()) {
    X509_NAME_add_entry_by_NID(
        X509_get_subject_name(certificate.get()), NID_commonName, MBSTRING_UTF8,
        reinterpret_cast<const unsigned char*>(request.common_name.c_str()), -1, -1, 0);
  }
  return certificate;
}

void Sign(X509* certificate, X509* issuer, EVP_PKEY* key) {
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  ETCDD_CHECK(X509_sign(certificate, key, EVP_sha256()) > 0);
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name) : key_(EVP_EC_gen("P-256")) {
  CertificateRequest request;
  request.common_name = name;
  request.serial = 1;
  certificate_ = Certificate(request, key_.get());
  Extend(certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  Sign(certificate_.get(), certificate_.get(), key_.get());
  certificate_pem_ = CertificatePem(certificate_.get());
}

TestAuthority TestAuthority::IssueAuthority(const std::string& name, int64_t serial) const {
  TestAuthority below;
  below.root_ = false;
  below.key_.reset(EVP_EC_gen("P-256"));
  CertificateRequest request;
  request.common_name = name;
  request.serial = serial;
  below.certificate_ = Certificate(request, below.key_.get());
  Extend(below.certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  Sign(below.certificate_.get(), certificate_.get(), key_.get());
  below.certificate_pem_ = CertificatePem(below.certificate_.get());
  return below;
}

PemPair TestAuthority::Issue(const CertificateRequest& request) const {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const X509Ptr certificate = Certificate(request, key.get());
  Extend(certificate.get(), certificate_.get(), NID_basic_constraints, "critical,CA:FALSE");
  if (!request.usage.empty()) {
    Extend(certificate.get(), certificate_.get(), NID_ext_key_usage, request.usage);
  }
  if (!request.alt_names.empty()) {
    Extend(certificate.get(), certificate_.get(), NID_subject_alt_name, request.alt_names);
  }
  Sign(certificate.get(), certificate_.get(), key_.get());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  ETCDD_CHECK(PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                       nullptr) == 1);
  return {CertificatePem(certificate.get()) + (root_ ? "" : certificate_pem_),
          Content(bio.get())};
}

std::string TestAuthority::Revoke(const std::vector<int64_t>& serials,
                                  absl::Duration next_update) const {
  const CrlPtr list(X509_CRL_new());
  X509_CRL_set_version(list.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(certificate_.get()));
  const std::unique_ptr<ASN1_TIME, OpensslFree<ASN1_TIME_free>> begin(
      ASN1_TIME_set(nullptr, FromNow(-absl::Hours(48))));
  const std::unique_ptr<ASN1_TIME, OpensslFree<ASN1_TIME_free>> end(
      ASN1_TIME_set(nullptr, FromNow(next_update)));
  X509_CRL_set1_lastUpdate(list.get(), begin.get());
  X509_CRL_set1_nextUpdate(list.get(), end.get());
  for (const int64_t serial : serials) {
    X509_REVOKED* revoked = X509_REVOKED_new();
    const std::unique_ptr<ASN1_INTEGER, OpensslFree<ASN1_INTEGER_free>> number(ASN1_INTEGER_new());
    ASN1_INTEGER_set_int64(number.get(), serial);
    X509_REVOKED_set_serialNumber(revoked, number.get());
    X509_REVOKED_set_revocationDate(revoked, begin.get());
    X509_CRL_add0_revoked(list.get(), revoked);
  }
  ETCDD_CHECK(X509_CRL_sign(list.get(), key_.get(), EVP_sha256()) > 0);
  const BioPtr bio(BIO_new(BIO_s_mem()));
  ETCDD_CHECK(PEM_write_bio_X509_CRL(bio.get(), list.get()) == 1);
  return Content(bio.get());
}

}  // namespace etcdd::net
