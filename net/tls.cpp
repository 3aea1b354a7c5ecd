// SPDX-License-Identifier: Apache-2.0
#include "net/tls.hpp"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>

namespace doorstep {

result<std::shared_ptr<tls_context>> open_tls(const std::string& certificate, const std::string& key, const std::string& client_ca) {
  namespace ssl = boost::asio::ssl;
  const auto wrong = [](const std::string& file, const boost::system::error_code& why) {
    return failure{ec::bad_config, "\"" + file + "\" cannot be used for TLS: " + why.message(), {}};
  };
  auto made = std::make_shared<tls_context>(ssl::context::tls_server);
  boost::system::error_code error;
  made->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 | ssl::context::no_tlsv1 |
                        ssl::context::no_tlsv1_1 | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE,
                    error);
  made->use_certificate_chain_file(certificate, error);
  if (error) return wrong(certificate, error);
  made->use_private_key_file(key, ssl::context::pem, error);
  if (error) return wrong(key, error);
  if (SSL_CTX_check_private_key(made->native_handle()) != 1)
    return failure{ec::bad_config, "\"" + key + "\" is not the key of \"" + certificate + "\"", {}};
  SSL_CTX_set_mode(made->native_handle(), SSL_MODE_RELEASE_BUFFERS);  // an idle connection holds 34 KiB less
  constexpr std::array<unsigned char, 8> session_context{'d', 'o', 'o', 'r', 's', 't', 'e', 'p'};
  SSL_CTX_set_session_id_context(made->native_handle(), session_context.data(), session_context.size());
  if (client_ca.empty()) return made;
  made->load_verify_file(client_ca, error);
  if (error) return wrong(client_ca, error);
  made->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert, error);
  return made;
}

std::string common_name_of(tls_socket& stream) {
  const std::unique_ptr<X509, void (*)(X509*)> certificate(SSL_get1_peer_certificate(stream.native_handle()), X509_free);
  if (!certificate) return {};
  std::array<char, 256> name{};
  const auto size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name.data(), name.size());
  return size <= 0 ? std::string() : std::string(name.data(), static_cast<std::size_t>(size));
}

}  // namespace doorstep
