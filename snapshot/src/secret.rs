//! Secrets as a type: what must not be printed can't be.
//!
//! Must never implement `Display` or `Serialize` for [`Redacted`]: the one place that writes a
//! credential out is [`crate::encode`], and it says so by calling [`Redacted::expose`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// A secret value: hidden in `Debug`, wiped when dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Redacted<T: Zeroize>(T);

impl<T: Zeroize> Redacted<T> {
    /// Takes a secret into custody.
    pub fn new(secret: T) -> Self {
        Self(secret)
    }

    /// Hands the secret out. Each call is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Redacted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Redacted<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// SHA-256 of a virtual key's token: all that exists of the token downstream of the compiler.
///
/// A plain digest is enough because tokens are not passwords: a minted one holds 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenDigest([u8; 32]);

/// The text isn't 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token digest is 64 hexadecimal digits")]
pub struct ParseTokenDigestError;

impl TokenDigest {
    /// Digests a token as it stands in a request header.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// The 32 bytes; uniformly distributed, so they can serve as their own hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hexadecimal digits: enough to tell tokens apart for a reader.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenDigest({})", self.short())
    }
}

impl FromStr for TokenDigest {
    type Err = ParseTokenDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Vec<u8> = text
            .chars()
            .map(|digit| {
                digit
                    .to_digit(16)
                    .and_then(|value| u8::try_from(value).ok())
            })
            .collect::<Option<_>>()
            .ok_or(ParseTokenDigestError)?;
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect();
        if digits.len() != 64 {
            return Err(ParseTokenDigestError);
        }
        Ok(Self(bytes.try_into().map_err(|_| ParseTokenDigestError)?))
    }
}

impl TryFrom<String> for TokenDigest {
    type Error = ParseTokenDigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_the_published_sha_256_test_vector() {
        // FIPS 180-4, the one-block message sample.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenDigest::of(b"abc").to_string(), expected);
        assert_eq!(
            expected.parse::<TokenDigest>().unwrap(),
            TokenDigest::of(b"abc")
        );
    }

    #[test]
    fn refuses_digests_of_another_length() {
        for text in ["", "ab", "zz", &"a".repeat(63), &"a".repeat(65)] {
            assert_eq!(
                text.parse::<TokenDigest>(),
                Err(ParseTokenDigestError),
                "{text}"
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Redacted::new("sk-very-secret".to_owned());
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }
}
