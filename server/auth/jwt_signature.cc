#include "server/auth/jwt_signature.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::auth {
namespace {

template <auto free>
struct Free {
  template <typename T>
  void operator()(T* object) const { free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;

enum class Family { kRsa, kRsaPss, kEcdsa, kHmac, kEd25519 };

struct Method {
  std::string_view name;
  Family family;
  const EVP_MD* (*digest)();
  int curve = NID_undef;          // ECDSA
  size_t coordinate_bytes = 0;  // ECDSA: of r and of s
};

const EVP_MD* NoDigest() { return nullptr; }

constexpr std::array kMethods = {
    Method{"RS256", Family::kRsa, EVP_sha256},
    Method{"RS384", Family::kRsa, EVP_sha384},
    Method{"RS512", Family::kRsa, EVP_sha512},
    Method{"PS256", Family::kRsaPss, EVP_sha256},
    Method{"PS384", Family::kRsaPss, EVP_sha384},
    Method{"PS512", Family::kRsaPss, EVP_sha512},
    Method{"ES256", Family::kEcdsa, EVP_sha256, NID_X9_62_prime256v1, 32},
    Method{"ES384", Family::kEcdsa, EVP_sha384, NID_secp384r1, 48},
    Method{"ES512", Family::kEcdsa, EVP_sha512, NID_secp521r1, 66},
    Method{"HS256", Family::kHmac, EVP_sha256},
    Method{"HS384", Family::kHmac, EVP_sha384},
    Method{"HS512", Family::kHmac, EVP_sha512},
    Method{"EdDSA", Family::kEd25519, NoDigest},
};

const Method* FindMethod(std::string_view name) {
  for (const Method& method : kMethods) {
    if (method.name == name) return &method;
  }
  return nullptr;
}

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// A secret shared by the members.
class HmacSignature final : public JwtSignature {
 public:
  HmacSignature(const Method& method, std::string secret)
      : method_(method), secret_(std::move(secret)) {}
  bool can_sign() const override { return true; }
  std::string Sign(std::string_view message) const override {
    std::string mac(EVP_MAX_MD_SIZE, '\0');
    unsigned int size = 0;
    ETCDD_CHECK(HMAC(method_.digest(), secret_.data(), static_cast<int>(secret_.size()),
                     Bytes(message), message.size(), Bytes(mac), &size) != nullptr);
    mac.resize(size);
    return mac;
  }
  bool Verify(std::string_view message, std::string_view signature) const override {
    const std::string mac = Sign(message);
    return mac.size() == signature.size() &&
           CRYPTO_memcmp(mac.data(), signature.data(), mac.size()) == 0;
  }

 private:
  const Method& method_;
  const std::string secret_;
};

// A pair of keys.
class KeySignature final : public JwtSignature {
 public:
  KeySignature(const Method& method, Key public_key, Key private_key)
      : method_(method),
        public_key_(std::move(public_key)),
        private_key_(std::move(private_key)) {}

  bool can_sign() const override { return private_key_ != nullptr; }

  std::string Sign(std::string_view message) const override {
    ETCDD_CHECK(can_sign());
    DigestContext context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* options = nullptr;
    ETCDD_CHECK(EVP_DigestSignInit(context.get(), &options, method_.digest(), nullptr,
                                   private_key_.get()) == 1);
    SetPadding(options, RSA_PSS_SALTLEN_DIGEST);
    size_t size = 0;
    ETCDD_CHECK(EVP_DigestSign(context.get(), nullptr, &size, Bytes(message), message.size()) ==
                1);
    std::string signature(size, '\0');
    ETCDD_CHECK(EVP_DigestSign(context.get(), Bytes(signature), &size, Bytes(message),
                               message.size()) == 1);
    signature.resize(size);
    return method_.family == Family::kEcdsa ? FromDer(signature) : signature;
  }

  bool Verify(std::string_view message, std::string_view signature) const override {
    std::string der;
    if (method_.family == Family::kEcdsa) {
      if (signature.size() != 2 * method_.coordinate_bytes) return false;
      der = ToDer(signature);
      signature = der;
    }
    EVP_PKEY* key = public_key_ != nullptr ? public_key_.get() : private_key_.get();
    DigestContext context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* options = nullptr;
    ETCDD_CHECK(EVP_DigestVerifyInit(context.get(), &options, method_.digest(), nullptr, key) ==
                1);
    SetPadding(options, RSA_PSS_SALTLEN_AUTO);
    const bool valid = EVP_DigestVerify(context.get(), Bytes(signature), signature.size(),
                                        Bytes(message), message.size()) == 1;
    ERR_clear_error();  // a forged token is no error of ours
    return valid;
  }

 private:
  void SetPadding(EVP_PKEY_CTX* options, int salt) const {
    if (method_.family != Family::kRsaPss) return;
    ETCDD_CHECK(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1);
    ETCDD_CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, salt) == 1);
  }
  // A token holds r and s side by side, OpenSSL wants ASN.1 (RFC 7518 section 3.4).
  std::string FromDer(std::string_view der) const {
    const unsigned char* in = Bytes(der);
    EcSignature pair(d2i_ECDSA_SIG(nullptr, &in, static_cast<long>(der.size())));
    ETCDD_CHECK(pair != nullptr);
    const int half = static_cast<int>(method_.coordinate_bytes);
    std::string raw(2 * method_.coordinate_bytes, '\0');
    ETCDD_CHECK(BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), Bytes(raw), half) == half);
    ETCDD_CHECK(BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), Bytes(raw) + half, half) == half);
    return raw;
  }
  std::string ToDer(std::string_view raw) const {
    const int half = static_cast<int>(method_.coordinate_bytes);
    EcSignature pair(ECDSA_SIG_new());
    ECDSA_SIG_set0(pair.get(), BN_bin2bn(Bytes(raw), half, nullptr),
                   BN_bin2bn(Bytes(raw) + half, half, nullptr));
    std::string der(static_cast<size_t>(i2d_ECDSA_SIG(pair.get(), nullptr)), '\0');
    unsigned char* out = Bytes(der);
    i2d_ECDSA_SIG(pair.get(), &out);
    return der;
  }

  const Method& method_;
  const Key public_key_;
  const Key private_key_;
};

Key ReadPublicKey(const std::string& pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (Key key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr)); key) return key;
  bio.reset(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  return Key(certificate == nullptr ? nullptr : X509_get_pubkey(certificate.get()));
}

Key ReadPrivateKey(const std::string& pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // An encrypted key is refused: nobody is there to be asked for its password.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  return Key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
}

absl::Status CheckKey(const Method& method, const EVP_PKEY* key) {
  const int type = EVP_PKEY_base_id(key);
  bool fits = false;
  switch (method.family) {
    case Family::kRsa:
      fits = type == EVP_PKEY_RSA;
      break;
    case Family::kRsaPss:
      fits = type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS;
      break;
    case Family::kEd25519:
      fits = type == EVP_PKEY_ED25519;
      break;
    case Family::kEcdsa: {
      char curve[64];
      fits = type == EVP_PKEY_EC &&
             EVP_PKEY_get_group_name(key, curve, sizeof(curve), nullptr) == 1 &&
             OBJ_txt2nid(curve) == method.curve;
      break;
    }
    case Family::kHmac:
      break;
  }
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "auth: the key does not fit sign-method ",
      absl::string_view(method.name.data(), method.name.size())));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JwtSignature>> JwtSignature::Load(std::string_view name,
                                                                 const JwtKeys& keys) {
  const Method* method = FindMethod(name);
  if (method == nullptr) {
    return absl::InvalidArgumentError("auth: invalid auth signature method");
  }
  if (method->family == Family::kHmac) {
    if (keys.private_key.empty()) return absl::InvalidArgumentError("auth: missing key data");
    return std::make_unique<HmacSignature>(*method, keys.private_key);
  }
  if (keys.private_key.empty() && keys.public_key.empty()) {
    return absl::InvalidArgumentError("auth: missing key data");
  }
  Key public_key;
  Key private_key;
  if (!keys.public_key.empty()) {
    public_key = ReadPublicKey(keys.public_key);
    if (public_key == nullptr) {
      return absl::InvalidArgumentError("auth: pub-key holds no public key in PEM form");
    }
    ETCDD_RETURN_IF_ERROR(CheckKey(*method, public_key.get()));
  }
  if (!keys.private_key.empty()) {
    private_key = ReadPrivateKey(keys.private_key);
    if (private_key == nullptr) {
      return absl::InvalidArgumentError(
          "auth: priv-key holds no private key in PEM form, or it is encrypted");
    }
    ETCDD_RETURN_IF_ERROR(CheckKey(*method, private_key.get()));
  }
  ERR_clear_error();
  if (public_key != nullptr && private_key != nullptr &&
      EVP_PKEY_eq(public_key.get(), private_key.get()) != 1) {
    return absl::InvalidArgumentError("auth: public and private keys don't match");
  }
  return std::make_unique<KeySignature>(*method, std::move(public_key), std::move(private_key));
}

}  // namespace etcdd::auth
