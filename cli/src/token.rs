//! Making a virtual key's token.
//!
//! `wb-`, 43 letters and digits that hold 256 random bits, and a checksum of 6 by which a scanner for
//! leaked secrets tells a token from noise without asking anybody. Must never print or store one.

use weighbridge_snapshot::Redacted;

/// What every token begins with.
const PREFIX: &str = "wb-";
/// Letters and digits, 62.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 × log2(62) = 256.03 bits.
const RANDOM: usize = 43;
/// 62⁶ is more than 2³², so that six digits hold a CRC-32.
const CHECKSUM: usize = 6;

/// Makes a token.
///
/// # Errors
/// When the system has no random bytes.
pub(crate) fn mint() -> Result<Redacted<String>, getrandom::Error> {
    let mut random = String::with_capacity(RANDOM);
    while random.len() < RANDOM {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)?;
        // 248 is the largest multiple of 62 in a byte: beyond it some letters would be likelier.
        let even = bytes.iter().filter(|byte| **byte < 248);
        let letters = even.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        random.extend(
            letters
                .map(|letter| char::from(*letter))
                .take(RANDOM - random.len()),
        );
    }
    let checksum = checksum(random.as_bytes());
    Ok(Redacted::new(format!("{PREFIX}{random}{checksum}")))
}

/// CRC-32 (IEEE 802.3) as six digits of base 62.
fn checksum(bytes: &[u8]) -> String {
    let mut rest = !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let carry = (crc & 1).wrapping_neg();
            crc >> 1 ^ (0xedb8_8320 & carry)
        })
    });
    let mut digits: Vec<char> = Vec::with_capacity(CHECKSUM);
    for _ in 0..CHECKSUM {
        let digit = ALPHABET.get(rest as usize % 62).copied().unwrap_or(b'0');
        digits.push(char::from(digit));
        rest /= 62;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_the_published_crc_32_check_value() {
        // CRC-32/ISO-HDLC of "123456789" is 0xCBF43926.
        let value = 0xcbf4_3926_u64;
        let digits: Vec<u64> = (0..6)
            .rev()
            .map(|power| value / 62_u64.pow(power) % 62)
            .collect();
        let text = checksum(b"123456789");
        let back: Vec<u64> = text
            .bytes()
            .map(|byte| ALPHABET.iter().position(|letter| *letter == byte).unwrap() as u64)
            .collect();
        assert_eq!(back, digits);
    }

    #[test]
    fn tokens_are_long_plain_and_never_the_same() {
        let (one, two) = (mint().unwrap(), mint().unwrap());
        assert_ne!(one, two);
        for token in [one, two] {
            let token = token.expose();
            assert_eq!(token.len(), 3 + 43 + 6);
            let (random, sum) = token[3..].split_at(43);
            assert_eq!(checksum(random.as_bytes()), sum);
            assert!(
                token.starts_with("wb-")
                    && token[3..].bytes().all(|byte| byte.is_ascii_alphanumeric())
            );
        }
    }
}
