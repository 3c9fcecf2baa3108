//! The address that a request comes from, as Nginx saw it.
//!
//! Nginx sets `X-Forwarded-For` to the one address that it sees, and overwrites what a client sent
//! under that name (`deploy/nginx/conf/proxy.conf`).

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

/// The header that Nginx overwrites.
pub(crate) const HEADER: &str = "x-forwarded-for";

/// What counts as one client: an address of IPv4, or the 2^64 of IPv6 that a single client has.
/// Requests without an address, which Nginx sends none of, count as those of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(Option<IpAddr>);

impl ClientAddress {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let address = text.and_then(|text| text.parse::<IpAddr>().ok());
        address.map_or(Self(None), Self::from)
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                IpAddr::V6(Ipv6Addr::from(network))
            }
        }))
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => fmt::Display::fmt(&address, f),
            None => f.write_str("unknown"),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_of_ipv4_or_a_network_of_ipv6() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, text.parse().unwrap());
            ClientAddress::of(&headers)
        };
        assert_eq!(of("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        // Nginx sends one address. What is none is nobody's.
        for none in ["", "x", "192.0.2.1, 192.0.2.2"] {
            assert_eq!(of(none), ClientAddress(None), "{none:?}");
        }
        assert_eq!(ClientAddress::of(&HeaderMap::new()), ClientAddress(None));
    }
}
