//! What a file of a private key says of it without being opened.

use super::text::trim;
use crate::base64::decode;
use crate::osquery::accounts::lines;

/// A key, as far as its file tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PrivateKey {
    pub encrypted: bool,
    /// `rsa`, `dsa`, `ec`, or nothing.
    pub kind: &'static str,
    /// Of the modulus or the group.
    pub bits: Option<i64>,
}

impl PrivateKey {
    /// OpenSSH's own format says everything only inside the base64: a cipher other than "none", and the public half.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let label = lines(bytes)
            .map(trim)
            .find_map(|line| line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"PRIVATE KEY-----").map(trim));
        let body = || {
            let text: Vec<u8> = lines(bytes)
                .map(trim)
                .skip_while(|line| !line.starts_with(b"-----BEGIN"))
                .skip(1)
                .take_while(|line| !line.starts_with(b"-----END"))
                .flatten()
                .copied()
                .collect();
            decode(&text)
        };
        let of = |kind, bits| Self { encrypted: false, kind, bits };
        match label {
            // Version, then the modulus; of an encrypted one the base64 stands behind headers and is no such thing.
            Some(b"RSA") => of("rsa", body().and_then(|body| modulus_bits(&body))),
            Some(b"DSA") => of("dsa", body().and_then(|body| modulus_bits(&body))),
            Some(b"EC") => of("ec", None),
            Some(b"OPENSSH") => body().and_then(|body| Self::openssh(&body)).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    fn openssh(body: &[u8]) -> Option<Self> {
        let mut rest = body.strip_prefix(b"openssh-key-v1\0")?;
        let cipher = field(&mut rest)?;
        let (_derivation, _options) = (field(&mut rest)?, field(&mut rest)?);
        // The number of keys, then the public key, which begins with its type.
        rest = rest.get(4..)?;
        let mut public = field(&mut rest).unwrap_or_default();
        let name = field(&mut public).unwrap_or_default();
        let (kind, bits) = match name {
            b"ssh-rsa" => {
                ("rsa", field(&mut public).and_then(|_exponent| field(&mut public)).map(bit_length))
            }
            b"ssh-dss" => ("dsa", field(&mut public).map(bit_length)),
            b"ecdsa-sha2-nistp256" => ("ec", Some(256)),
            b"ecdsa-sha2-nistp384" => ("ec", Some(384)),
            b"ecdsa-sha2-nistp521" => ("ec", Some(521)),
            _ => ("", None),
        };
        Some(Self { encrypted: cipher != b"none", kind, bits })
    }

    /// OpenSSL's name of the group.
    pub(super) fn group(&self) -> &'static str {
        match (self.kind, self.bits) {
            ("ec", Some(256)) => "prime256v1",
            ("ec", Some(384)) => "secp384r1",
            ("ec", Some(521)) => "secp521r1",
            _ => "",
        }
    }

    /// Bits of security by NIST SP 800-57, part 1, table 2.
    pub(super) fn strength(&self) -> Option<i64> {
        let bits = self.bits?;
        let steps: &[(i64, i64)] = match self.kind {
            "ec" => &[(512, 256), (384, 192), (256, 128)],
            _ => &[(15_360, 256), (7_680, 192), (3_072, 128), (2_048, 112), (1_024, 80)],
        };
        steps.iter().find(|(least, _)| bits >= *least).map(|(_, strength)| *strength)
    }
}

/// The next part: its length and as many bytes.
fn field<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let value = tail.get(..length)?;
    *rest = tail.get(length..)?;
    Some(value)
}

/// Of an unsigned number, most significant byte first.
fn bit_length(number: &[u8]) -> i64 {
    let digits = number.iter().skip_while(|byte| **byte == 0).count();
    let first = number.iter().find(|byte| **byte != 0).map_or(0, |byte| byte.leading_zeros());
    i64::try_from(digits).unwrap_or(0) * 8 - i64::from(first)
}

/// The second number of a DER sequence.
fn modulus_bits(body: &[u8]) -> Option<i64> {
    let (0x30, sequence) = der(&mut &*body)? else { return None };
    let mut rest = sequence;
    let (0x02, _version) = der(&mut rest)? else { return None };
    let (0x02, modulus) = der(&mut rest)? else { return None };
    Some(bit_length(modulus))
}

/// The next element of DER: its tag and contents.
fn der<'b>(rest: &mut &'b [u8]) -> Option<(u8, &'b [u8])> {
    let (tag, first) = (*rest.first()?, *rest.get(1)?);
    let long = usize::from(first & 0x7f);
    let (length, start) = match first {
        0..=0x7f => (usize::from(first), 2),
        _ if long > 4 => return None,
        _ => (rest.get(2..2 + long)?.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), 2 + long),
    };
    let value = rest.get(start..start.checked_add(length)?)?;
    *rest = rest.get(start + length..)?;
    Some((tag, value))
}

#[cfg(test)]
mod tests {
    use super::{PrivateKey, bit_length, modulus_bits};

    #[test]
    fn broken_keys_are_of_no_type() {
        for body in ["", "AAAA", "b3BlbnNzaC1rZXktdjEA", "b3BlbnNzaC1rZXktdjEA/////w=="] {
            let text =
                format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n");
            assert_eq!(PrivateKey::of(text.as_bytes()), PrivateKey::default(), "{body}");
        }
    }

    #[test]
    fn a_key_has_the_bits_of_its_modulus() {
        assert_eq!(bit_length(&[0, 1, 0]), 9);
        assert_eq!(bit_length(&[]), 0);
        let sequence = [0x30, 7, 2, 1, 0, 2, 2, 0x80, 1];
        assert_eq!(modulus_bits(&sequence), Some(16));
        for end in 0..sequence.len() {
            assert_eq!(modulus_bits(&sequence[..end]), None);
        }
        assert_eq!(modulus_bits(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        let of = |kind, bits| PrivateKey { encrypted: false, kind, bits: Some(bits) };
        assert_eq!((of("rsa", 3072).strength(), of("rsa", 512).strength()), (Some(128), None));
        assert_eq!((of("ec", 521).strength(), of("ec", 521).group()), (Some(256), "secp521r1"));
    }
}
