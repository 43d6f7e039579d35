//! A JSON text, packed when this is compiled and unpacked when it is read: the profiles are full of repetition, and each
//! kilobyte of them would be one of the component.
//!
//! Packed, a byte below 128 stands for itself. Any other byte and the two after it stand for a run that came before: its
//! length less [`SHORTEST`], above 128, and how far back it begins, low byte first.

/// Shorter runs would not gain.
const SHORTEST: usize = 4;
const LONGEST: usize = SHORTEST + 127;
/// How many earlier runs are compared with the text before the longest is taken.
const TRIES: u32 = 24;
const HASHES: usize = 4096;

/// The bytes of a JSON text without the white space between its values, and how many there are.
pub(crate) const fn compact<const N: usize>(text: &[u8]) -> ([u8; N], usize) {
    let mut kept = [0; N];
    let (mut from, mut to, mut inside) = (0, 0, false);
    while from < text.len() {
        let byte = text[from];
        if byte == b'"' && (from == 0 || text[from - 1] != b'\\') {
            inside = !inside;
        }
        if inside || !byte.is_ascii_whitespace() {
            kept[to] = byte;
            to += 1;
        }
        from += 1;
    }
    (kept, to)
}

/// The first `length` bytes of an ASCII text packed, and how many bytes that takes.
pub(crate) const fn pack<const N: usize>(text: &[u8; N], length: usize) -> ([u8; N], usize) {
    assert!(length <= 1 << 16, "a run that far back could not be named");
    let mut packed = [0; N];
    // Where each hash was seen last, and where before that: counted from 1, 0 is nowhere.
    let (mut last, mut before) = ([0; HASHES], [0; N]);
    let (mut from, mut to) = (0, 0);
    while from < length {
        let (run, back) = longest_run(text, length, from, &last, &before);
        if run < SHORTEST {
            assert!(text[from].is_ascii(), "only ASCII is packed");
            packed[to] = text[from];
            to += 1;
        } else {
            packed[to] = 128 + (run - SHORTEST) as u8;
            packed[to + 1] = back as u8;
            packed[to + 2] = (back >> 8) as u8;
            to += 3;
        }
        let next = from + if run < SHORTEST { 1 } else { run };
        while from < next {
            if from + SHORTEST <= length {
                let hash = hash(text, from);
                before[from] = last[hash];
                last[hash] = from + 1;
            }
            from += 1;
        }
    }
    (packed, to)
}

const fn longest_run<const N: usize>(
    text: &[u8; N],
    length: usize,
    from: usize,
    last: &[usize; HASHES],
    before: &[usize; N],
) -> (usize, usize) {
    let (mut best, mut back, mut tries) = (0, 0, 0);
    if from + SHORTEST > length {
        return (best, back);
    }
    let mut at = last[hash(text, from)];
    while at > 0 && tries < TRIES {
        let start = at - 1;
        let mut run = 0;
        // A run ends before the place it is copied to.
        while run < LONGEST && from + run < length && start + run < from && text[start + run] == text[from + run] {
            run += 1;
        }
        if run > best {
            (best, back) = (run, from - start);
        }
        at = before[start];
        tries += 1;
    }
    (best, back)
}

const fn hash<const N: usize>(text: &[u8; N], at: usize) -> usize {
    let word = u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
    (word.wrapping_mul(0x9e37_79b1) >> 20) as usize
}

/// The first `N` bytes: what is packed, without the room that was not needed.
pub(crate) const fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut kept = [0; N];
    let mut at = 0;
    while at < N {
        kept[at] = bytes[at];
        at += 1;
    }
    kept
}

/// The text that was packed.
pub(crate) fn unpack(packed: &[u8]) -> String {
    let mut text = Vec::with_capacity(packed.len() * 3);
    let mut bytes = packed.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte < 128 {
            text.push(byte);
            continue;
        }
        let mut part = || usize::from(bytes.next().unwrap_or_default());
        let (run, back) = (usize::from(byte - 128) + SHORTEST, part() | part() << 8);
        let start = text.len() - back;
        text.extend_from_within(start..start + run);
    }
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        const TEXT: &[u8; 44] = b"abcabcabcabcdabcabcdefghijklmnopefghijklmn!?";
        const PACKED: ([u8; 44], usize) = pack(TEXT, TEXT.len());
        assert_eq!(unpack(&PACKED.0[..PACKED.1]).as_bytes(), TEXT);
        assert!(PACKED.1 < TEXT.len());
    }

    #[test]
    fn white_space_goes_only_between_values() {
        const TEXT: &[u8] = br#"{ "a b" : [ "c \" d", 1 ] }"#;
        const COMPACT: ([u8; 27], usize) = compact(TEXT);
        assert_eq!(&COMPACT.0[..COMPACT.1], br#"{"a b":["c \" d",1]}"#);
    }
}
