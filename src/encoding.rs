//! The spellings of bytes that our documents and requests need: base64, hexadecimal and the escapes
//! of a form. None of them keeps state, and none fails on what it encodes.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns bytes as base64 (RFC 4648 section 4), with padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut encoded = digits(bytes, STANDARD);
    let missing = (4 - encoded.len() % 4) % 4;
    encoded.extend(std::iter::repeat_n('=', missing));
    encoded
}

/// Returns bytes as base64url (RFC 4648 section 5), without padding.
pub fn base64url(bytes: &[u8]) -> String {
    digits(bytes, URL_SAFE)
}

fn digits(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    // Never moved while it grows: a copy left behind could be one of a secret.
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            encoded.push(char::from(alphabet[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    encoded
}

/// Returns the bytes of a text in base64 or base64url, with or without padding; none if it is
/// neither.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

/// Returns bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Returns a text as `application/x-www-form-urlencoded` spells it (RFC 6749 appendix B).
pub fn form_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => escaped.push(char::from(byte)),
            b' ' => escaped.push('+'),
            _ => {
                escaped.push('%');
                escaped.extend([byte >> 4, byte & 15].map(upper_hex_digit));
            }
        }
    }
    escaped
}

fn upper_hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'A' + value - 10 })
}

/// Returns the text that `application/x-www-form-urlencoded` spells; none if an escape is not whole
/// or the bytes are not UTF-8.
pub fn form_unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = match first {
            b'%' => {
                let digit = |at: usize| char::from(*more.get(at)?).to_digit(16);
                bytes.push((digit(0)? << 4 | digit(1)?) as u8);
                more.get(2..)?
            }
            _ => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                more
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648_section_10() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        assert_eq!(
            texts.map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]
        );
        assert_eq!(["", "f", "fo", "foo"].map(|text| base64url(text.as_bytes())), ["", "Zg", "Zm8", "Zm9v"]);
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!((from_base64(&base64(&all)), from_base64(&base64url(&all))), (Some(all.clone()), Some(all)));
        assert!(base64url(&[0xfb, 0xff]) == "-_8" && base64(&[0xfb, 0xff]) == "+/8=");
        assert_eq!(from_base64("a b"), None);
    }

    #[test]
    fn bytes_are_spelled_in_lower_case_hexadecimal() {
        assert_eq!(hex(&[0x00, 0x9a, 0xff]), "009aff");
    }

    #[test]
    fn what_a_form_escapes_is_read_and_nonsense_is_not() {
        assert_eq!(form_unescape("a+b%2f%C3%A9").as_deref(), Some("a b/é"));
        assert_eq!(form_escape("a b/é-._*~"), "a+b%2F%C3%A9-._*%7E");
        assert_eq!(form_unescape(&form_escape("a b/+%é\u{0}")).as_deref(), Some("a b/+%é\u{0}"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(form_unescape(bad), None, "{bad}");
        }
    }
}
