//! Address ranges for `cidrMatch` and for comparisons of address fields.

use std::net::IpAddr;

/// A range of addresses: `10.0.0.0/8`, `::1`. Host bits may be set and are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cidr {
    base: IpAddr,
    bits: u8,
}

impl Cidr {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.trim().parse().ok()?;
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(b) if b.bytes().all(|c| c.is_ascii_digit()) => b.parse().ok().filter(|b| *b <= widest)?,
            Some(_) => return None,
            None => widest,
        };
        Some(Self { base, bits })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (u32::from(base) ^ u32::from(address)) & mask == 0
            }
            (IpAddr::V6(base), _) => {
                let IpAddr::V6(address) = address else { return false };
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (u128::from(base) ^ u128::from(address)) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}

/// The address that `text` spells, if any.
pub(crate) fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    // The longest textual address has 45 characters; anything longer is not worth decoding.
    if text.len() > 45 {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(range: &str, address: &str) -> bool {
        Cidr::parse(range).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn ranges_and_plain_addresses() {
        assert!(within("10.6.48.157/8", "10.0.0.1"));
        assert!(!within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("0.0.0.0/0", "200.1.2.3"));
        assert!(within("127.0.0.1", "127.0.0.1"));
        assert!(within("FE80::/10", "fe80::1"));
        assert!(within("::1", "::1"));
        assert!(!within("::/0", "10.0.0.1"));
        assert!(within("10.0.0.0/8", "::ffff:10.1.1.1"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["10.0.0.0/33", "10.0.0", "::/129", "x", "1.2.3.4/", "1.2.3.4/+8"] {
            assert!(Cidr::parse(bad).is_none(), "{bad}");
        }
    }
}
