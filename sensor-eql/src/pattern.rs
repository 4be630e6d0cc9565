//! Patterns and addresses for other query languages: the same code that EQL matches with.

use std::net::IpAddr;

use crate::{net, regex, wild};

/// A case-sensitive pattern of `*`, any run of characters, and `?`, any one character. No escape.
#[derive(Clone, Debug)]
pub struct Wildcard(wild::Wildcard);

impl Wildcard {
    /// Compiles; every text is a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(wild::Wildcard::new(pattern, false))
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.matches(text)
    }
}

/// A regular expression in Lucene's syntax, in linear time.
#[derive(Clone, Debug)]
pub struct LuceneRegex(regex::LuceneRegex);

impl LuceneRegex {
    /// Compiles one expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a person's words; complement and intersection are refused.
    pub fn new(pattern: &str) -> Result<Self, String> {
        regex::LuceneRegex::new(std::iter::once(pattern), false).map(Self).map_err(|error| error.message)
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.matches(text)
    }
}

/// A range of addresses: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(net::Cidr);

impl Cidr {
    /// Reads a range.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        net::Cidr::parse(text).map(Self)
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }
}
