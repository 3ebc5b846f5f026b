#include "server/http/response.h"

namespace etcdd::http {

net::Http1Response ErrorText(int status, std::string_view text) {
  net::Http1Response response;
  response.status = status;
  response.content_type = kPlainText;
  response.headers = {{"X-Content-Type-Options", "nosniff"}};
  response.body.assign(text);
  response.body.push_back('\n');
  return response;
}

net::Http1Response MethodNotAllowed(std::string_view allowed) {
  net::Http1Response response = ErrorText(405, "Method Not Allowed");
  response.headers.emplace_back("Allow", allowed);
  return response;
}

net::Http1Response NotFound() { return ErrorText(404, "404 page not found"); }

}  // namespace etcdd::http
