//! Host and port.

use std::fmt;
use std::str::FromStr;

/// Host and port of a node or a sentinel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is host:port")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        if host.is_empty() {
            return Err(AddressError);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| AddressError)?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        let address: Address = "sentinel-1:26379".parse().unwrap();
        assert_eq!(address.to_string(), "sentinel-1:26379");
        for text in ["", "redis", ":6379", "redis:", "redis:x", "redis:70000"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text:?}");
        }
    }
}
