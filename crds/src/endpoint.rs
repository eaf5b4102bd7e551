//! A Provider's address.
//!
//! Must never repeat an address that holds credentials.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::{Misfit, bounds, strict};

const FORM: &str = "an http or https URL of at most 253 characters, without credentials, query or fragment, such as https://api.example.com/v1";

/// An address, as written; [`EndpointUrl::parse`] tells whether it is one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EndpointUrl(
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(max = bounds::TEXT), pattern(r"^https?://[^\s/?#@\\]+(/[^\s?#\\]*)?$"))]
    String,
);

impl EndpointUrl {
    /// The URL: `http` or `https`, with a host, nothing after the path.
    ///
    /// # Errors
    /// When it isn't such a URL.
    pub fn parse(&self) -> Result<Url, Misfit> {
        let refused = || Misfit::quoting(&self.0, FORM);
        // Before anything that quotes: what precedes an '@' may be a password.
        if self.0.contains('@') {
            return Err(Misfit::saying("a URL with credentials or an '@'", FORM));
        }
        // The parser would repair these: drop white space, turn '\\' into '/', skip slashes.
        let repaired =
            self.0.contains(|c: char| c.is_whitespace() || c == '\\') || self.0.contains(":///");
        // And it would take `https:host` and `HTTPS://host`, which the schema refuses.
        let spoken = self.0.starts_with("https://") || self.0.starts_with("http://");
        if self.0.len() > bounds::TEXT || repaired || !spoken {
            return Err(refused());
        }
        let url = Url::parse(&self.0).map_err(|_| refused())?;
        let named =
            url.host().is_some_and(|host| host != Host::Domain("")) && url.port() != Some(0);
        let plain = url.query().is_none() && url.fragment().is_none();
        (named && plain).then_some(url).ok_or_else(refused)
    }
}

/// Hidden, because an address that should be refused may hold a password.
impl std::fmt::Debug for EndpointUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.parse() {
            Ok(url) => write!(formatter, "EndpointUrl({url})"),
            Err(_) => formatter.write_str("EndpointUrl(unusable)"),
        }
    }
}

impl std::convert::From<&str> for EndpointUrl {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_are_accepted() {
        for text in [
            "https://api.openai.com/v1",
            "http://127.0.0.1:8000",
            "http://[::1]:8000/v1/",
            "https://host/openai/deployments/x%20y",
        ] {
            assert!(EndpointUrl::from(text).parse().is_ok(), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "api.openai.com",
            "ftp://host",
            "file:///etc/passwd",
            "https://",
            "https:host/v1",
            "https:/host/v1",
            "HTTPS://host/v1",
            "Http://host",
            "https:///v1",
            "https://host?key=1",
            "https://host/v1#x",
            "https://host:99999",
            "http://host:0",
            "https://ho st",
            " https://host",
            "https://host/a\nb",
            &format!("https://{}", "a".repeat(253)),
        ] {
            assert!(EndpointUrl::from(text).parse().is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_are_refused_and_shown_nowhere() {
        let url = EndpointUrl::from("https://user:hunter2@host/v1");
        assert!(!url.parse().unwrap_err().to_string().contains("hunter2"));
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
