//! A body is read in the codings that servers use although none was asked for, and never beyond the
//! cap.
//!
//! The adapter over `wasi:http` includes this file too.
//!
//! | the body | what is made of it |
//! |---|---|
//! | begins like gzip | it is taken off, whatever the headers say: proxies strip `content-encoding` |
//! | named `deflate`, and no text as it stands | zlib or raw, whichever it is: servers send both under that name |
//! | any other coding, a broken one, or text although a coding is named | as it came, marked as lossy, and the name of the coding stays |

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::CAP_BYTES;

/// How many codings may lie over one another.
const MOST_CODINGS: usize = 3;

/// A body as far as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Body {
    /// At most [`CAP_BYTES`].
    pub(crate) text: String,
    /// Nothing of it is missing.
    pub(crate) is_complete: bool,
    /// Bytes that were not UTF-8 were replaced, or a coding could not be taken off.
    pub(crate) is_lossy: bool,
    /// A coding could not be taken off, or not to its end.
    pub(crate) is_coded: bool,
}

/// Reads at most [`CAP_BYTES`] bytes, which are all there is if `is_whole`.
pub(crate) fn read(bytes: &[u8], is_whole: bool, headers: &[(String, Vec<u8>)]) -> Body {
    match uncoded(bytes, codings(headers)) {
        (plain, Some(end)) => {
            // The connection brought all there was, and the coding's own end is missing.
            let is_coded = is_whole && end == End::Missing;
            let body = decode(&plain, is_whole && end == End::Reached);
            Body { is_coded, is_lossy: body.is_lossy || is_coded, ..body }
        }
        (as_it_came, None) => Body { is_coded: true, is_lossy: true, ..decode(&as_it_came, is_whole) },
    }
}

/// The text of at most [`CAP_BYTES`] bytes without any coding.
pub(crate) fn decode(bytes: &[u8], is_whole: bool) -> Body {
    let bytes = match std::str::from_utf8(bytes) {
        // The cut went through a character: that is not the server's mistake.
        Err(error) if !is_whole && error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    let decoded = String::from_utf8_lossy(bytes);
    let is_lossy = matches!(decoded, Cow::Owned(_));
    let mut text = decoded.into_owned();
    // A replaced byte becomes three.
    let fits = text.len() <= CAP_BYTES;
    text.truncate(text.floor_char_boundary(CAP_BYTES));
    Body { text, is_complete: is_whole && fits, is_lossy, is_coded: false }
}

/// What `content-encoding` names, in the order in which it was put on.
fn codings(headers: &[(String, Vec<u8>)]) -> Vec<String> {
    let values = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    values
        .flat_map(|(_, value)| String::from_utf8_lossy(value).split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != "identity")
        .collect()
}

/// Where a coded body stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Reached,
    /// More was to come, or more than fits is there.
    Missing,
    Beyond,
    Broken,
}

/// What is left when all codings are taken off that can be, and where it stops; none: not all
/// could.
fn uncoded(bytes: &[u8], mut named: Vec<String>) -> (Cow<'_, [u8]>, Option<End>) {
    let mut plain = Cow::Borrowed(bytes);
    let mut end = End::Reached;
    for _ in 0..MOST_CODINGS {
        let is_gzip = plain.starts_with(&[0x1f, 0x8b]);
        let is_deflate = named.last().is_some_and(|coding| coding == "deflate") && !is_text(&plain);
        let (inner, inner_end) = match (is_gzip, is_deflate) {
            (true, _) => gunzip(&plain),
            (false, true) => inflate(&plain),
            (false, false) => break,
        };
        if inner_end == End::Broken {
            return (plain, None);
        }
        if is_deflate || named.last().is_some_and(|coding| matches!(coding.as_str(), "gzip" | "x-gzip")) {
            named.pop();
        }
        // What lies within a body that was cut is cut as well.
        end = if end == End::Reached { inner_end } else { end };
        plain = Cow::Owned(inner);
    }
    let is_readable = named.is_empty() || plain.is_empty();
    (plain, is_readable.then_some(end))
}

/// No coding makes this of anything: each brings bytes that are no UTF-8 within the first few.
fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(is_binary))
}

/// A control character that stands in no text.
fn is_binary(character: char) -> bool {
    character.is_ascii_control() && !matches!(character, '\t' | '\n' | '\x0c' | '\r')
}

/// One member after the other; what follows the last and is none is left out, as elsewhere.
fn gunzip(bytes: &[u8]) -> (Vec<u8>, End) {
    let mut plain = Vec::new();
    let mut rest = bytes;
    while rest.starts_with(&[0x1f, 0x8b]) {
        let mut member = GzDecoder::new(rest);
        let room = CAP_BYTES + 1 - plain.len();
        match member.by_ref().take(room as u64).read_to_end(&mut plain) {
            Ok(_) if plain.len() > CAP_BYTES => {
                plain.truncate(CAP_BYTES);
                return (plain, End::Beyond);
            }
            Ok(_) => rest = member.into_inner(),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return (plain, End::Missing),
            Err(_) => return (plain, End::Broken),
        }
    }
    (plain, End::Reached)
}

/// As RFC 9110 has it (zlib), or as some servers understand it (raw).
fn inflate(bytes: &[u8]) -> (Vec<u8>, End) {
    match inflate_as(true, bytes) {
        (_, End::Broken) => inflate_as(false, bytes),
        of_zlib => of_zlib,
    }
}

fn inflate_as(has_zlib_header: bool, bytes: &[u8]) -> (Vec<u8>, End) {
    let mut plain = Vec::with_capacity(CAP_BYTES + 1);
    let mut decompress = Decompress::new(has_zlib_header);
    loop {
        let before = (decompress.total_in(), plain.len());
        let rest = usize::try_from(before.0).ok().and_then(|taken| bytes.get(taken..)).unwrap_or_default();
        let status = decompress.decompress_vec(rest, &mut plain, FlushDecompress::None);
        if plain.len() > CAP_BYTES {
            plain.truncate(CAP_BYTES);
            return (plain, End::Beyond);
        }
        match status {
            Err(_) => return (plain, End::Broken),
            Ok(Status::StreamEnd) => return (plain, End::Reached),
            Ok(_) if before == (decompress.total_in(), plain.len()) => return (plain, End::Missing),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const ANSWER: &[u8] = br#"{"access_token":"at","refresh_token":"rt"}"#;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn named(coding: &str) -> Vec<(String, Vec<u8>)> {
        if coding.is_empty() { Vec::new() } else { vec![("Content-Encoding".into(), coding.into())] }
    }

    fn plain(text: &[u8]) -> Body {
        let text = String::from_utf8(text.to_vec()).unwrap();
        Body { text, is_complete: true, is_lossy: false, is_coded: false }
    }

    #[test]
    fn gzip_is_taken_off_by_its_name_or_by_its_first_bytes() {
        for coding in ["gzip", "x-gzip", "GZIP", "identity, gzip", "", "deflate"] {
            assert_eq!(read(&gzip(ANSWER), true, &named(coding)), plain(ANSWER), "{coding}");
        }
        assert_eq!(read(&gzip(&gzip(ANSWER)), true, &named("gzip")), plain(ANSWER), "twice");
        let mut members = [gzip(&ANSWER[..9]), gzip(&ANSWER[9..])].concat();
        assert_eq!(read(&members, true, &[]), plain(ANSWER), "two members");
        members.extend(b"\0\0\0");
        assert_eq!(read(&members, true, &[]), plain(ANSWER), "and what is none");
    }

    #[test]
    fn deflate_is_taken_off_by_its_name_whichever_of_the_two_it_is() {
        for coded in [zlib(ANSWER), raw_deflate(ANSWER)] {
            assert_eq!(read(&coded, true, &named("deflate")), plain(ANSWER));
            assert!(read(&coded, true, &[]).is_lossy, "not by its bytes: anything may begin so");
        }
    }

    #[test]
    fn text_under_the_name_of_a_coding_stays_as_it_is() {
        for coding in ["gzip", "deflate", "br", "zstd", "none of these"] {
            let body = read(ANSWER, true, &named(coding));
            assert_eq!(Body { is_lossy: true, is_coded: true, ..plain(ANSWER) }, body, "{coding}");
            assert_eq!(read(b"", true, &named(coding)), plain(b""), "{coding}");
        }
        let body = read(&gzip(ANSWER), true, &named("br, gzip"));
        assert_eq!(Body { is_lossy: true, is_coded: true, ..plain(ANSWER) }, body);
    }

    #[test]
    fn what_cannot_be_taken_off_is_as_it_came_and_marked() {
        let mut wrong_sum = gzip(ANSWER);
        let at = wrong_sum.len() - 5;
        wrong_sum[at] ^= 1;
        let broken = [&gzip(ANSWER)[..10], b"\xff\xff\xff\xff"].concat();
        for (bytes, coding) in [
            (&b"\x0b\x02\x80{\"access"[..], "br"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"\x80\x81\x82", "gzip"),
            (b"\x87\x81\x82", "deflate"),
            (&broken, "gzip"),
            (&broken, ""),
            (&wrong_sum, "gzip"),
        ] {
            let body = read(bytes, true, &named(coding));
            assert_eq!(Body { is_coded: true, is_lossy: true, ..decode(bytes, true) }, body, "{coding}");
            assert!(body.is_complete);
        }
    }

    #[test]
    fn a_cut_body_is_told_as_far_as_it_came() {
        let long = format!("{{\"access_token\":\"{}\"}}", "0123456789abcdefABCDEF".repeat(200));
        for (coded, coding) in [
            (gzip(long.as_bytes()), "gzip"),
            (zlib(long.as_bytes()), "deflate"),
            (raw_deflate(long.as_bytes()), "deflate"),
        ] {
            let cut = &coded[..coded.len() - 9];
            let body = read(cut, false, &named(coding));
            assert!(long.starts_with(&body.text) && body.text.len() > 9, "{}", body.text);
            assert!(!body.is_complete && !body.is_lossy && !body.is_coded);
            // All came that was to come: then it is the coding that is not whole.
            let body = read(cut, true, &named(coding));
            assert!(!body.is_complete && body.is_lossy && body.is_coded);
        }
        let without_sum = &gzip(ANSWER)[..gzip(ANSWER).len() - 8];
        assert_eq!(read(without_sum, true, &[]).text.as_bytes(), ANSWER);
    }

    #[test]
    fn what_a_coding_hides_is_cut_at_the_cap() {
        let long = vec![b'x'; 50 * CAP_BYTES];
        for (coded, coding) in [(gzip(&long), ""), (zlib(&long), "deflate"), (raw_deflate(&long), "deflate")] {
            let body = read(&coded[..coded.len().min(CAP_BYTES)], true, &named(coding));
            assert_eq!((body.text.len(), body.is_complete, body.is_coded), (CAP_BYTES, false, false));
        }
        let body = read(&gzip(&vec![b'x'; CAP_BYTES]), true, &[]);
        assert_eq!((body.text.len(), body.is_complete), (CAP_BYTES, true));
    }

    #[test]
    fn a_cut_through_a_character_is_nobodys_mistake() {
        let bytes = "aé".as_bytes();
        let body =
            |text: &str, is_complete, is_lossy| Body { text: text.into(), is_complete, is_lossy, is_coded: false };
        assert_eq!(decode(&bytes[..2], false), body("a", false, false));
        assert_eq!(decode(&bytes[..2], true), body("a\u{fffd}", true, true));
        assert_eq!(decode(bytes, true), body("aé", true, false));
    }

    #[test]
    fn a_text_that_grew_beyond_the_cap_is_cut() {
        let body = decode(&vec![0xff; CAP_BYTES], true);
        assert!(body.text.len() <= CAP_BYTES && !body.is_complete && body.is_lossy);
    }
}
