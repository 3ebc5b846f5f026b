#pragma once

// The body of an HTTP/1.1 message for Boost.Beast's parser: bytes appended to a string, which its
// reader may take out piece by piece. Beast's own string_body reserves whatever Content-Length says
// before the first byte has come.
//
// Confined to the parser's user.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "boost/beast/core/buffers_range.hpp"
#include "boost/beast/http/fields.hpp"
#include "boost/beast/http/message.hpp"
#include "boost/optional.hpp"
#include "boost/system/error_code.hpp"

namespace etcdd::net {

struct Http1Body {
  using value_type = std::string;

  // Announced lengths up to this are reserved at once, bytes.
  static constexpr size_t kReservedBytesMax = 1 << 20;

  class reader {
   public:
    template <bool kIsRequest, class Fields>
    reader(boost::beast::http::header<kIsRequest, Fields>&, value_type& body) : body_(body) {}

    void init(const boost::optional<std::uint64_t>& length, boost::system::error_code& error) {
      error = {};
      if (length) body_.reserve(std::min<uint64_t>(*length, kReservedBytesMax));
    }
    template <class Buffers>
    size_t put(const Buffers& buffers, boost::system::error_code& error) {
      error = {};
      size_t taken = 0;
      for (const auto buffer : boost::beast::buffers_range_ref(buffers)) {
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
        taken += buffer.size();
      }
      return taken;
    }
    void finish(boost::system::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

}  // namespace etcdd::net
