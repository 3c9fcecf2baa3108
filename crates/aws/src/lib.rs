//! What the clients of all AWS services have in common: the HTTP client, the region, the
//! credentials. An emulator accepts any credentials; nothing is read from the environment.
//!
//! TLS uses `ring`, because the default of the SDK, `aws-lc`, takes a minute and a half to compile
//! for the same handshake. What it leaves to others: time-outs and retries, which differ by service.

use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::region::Region;

/// A pool of HTTP and HTTPS connections for one client of the SDK.
#[must_use]
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

/// The region of every table and queue.
#[must_use]
pub fn region() -> Region {
    Region::from_static("eu-central-1")
}

/// Credentials that every emulator accepts.
#[must_use]
pub fn credentials() -> Credentials {
    Credentials::new("boxoffice", "boxoffice", None, None, "static")
}
