//! An answer has as many headers as its server likes: all are read, and only those that frame the
//! body are shown to the HTTP client, which would give up an answer for its
//! hundred-and-twenty-ninth.

use super::CAP_BYTES;

/// The most bytes of all heads of an answer: those we drop must still be read.
const MOST_BYTES: usize = 2 * CAP_BYTES;
/// What says where the body ends, and whether the connection does with it.
const FRAMING: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// Reads the bytes of an answer as they come.
#[derive(Default)]
pub(super) struct Head {
    at: At,
    /// A line that has not ended yet.
    line: Vec<u8>,
    seen: usize,
    status_line: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    StatusLine,
    Fields,
    /// It is over, or it was none.
    Behind,
}

/// More than [`MOST_BYTES`] and no end.
#[derive(Debug)]
pub(super) struct TooLong;

impl Head {
    /// What the client is to see of these bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, TooLong> {
        let mut shown = Vec::new();
        let mut rest = bytes;
        while self.at != At::Behind && !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            let (piece, behind) = rest.split_at(end);
            rest = behind;
            self.line.extend_from_slice(piece);
            self.seen += piece.len();
            if self.seen > MOST_BYTES {
                return Err(TooLong);
            }
            let is_none = self.at == At::StatusLine && !b"HTTP/".starts_with(&self.line[..self.line.len().min(5)]);
            if is_none && !self.line.trim_ascii().is_empty() {
                // The client says what it is not.
                self.at = At::Behind;
                shown.append(&mut self.line);
            } else if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take_line(line, &mut shown);
            }
        }
        shown.extend_from_slice(rest);
        Ok(shown)
    }

    /// The headers, once their end has come. Names in lower case.
    pub(super) fn take_fields(&mut self) -> Option<Vec<(String, Vec<u8>)>> {
        (self.at == At::Behind).then(|| std::mem::take(&mut self.fields))
    }

    fn take_line(&mut self, line: Vec<u8>, shown: &mut Vec<u8>) {
        let text = line.trim_ascii_end();
        match self.at {
            At::StatusLine if text.is_empty() => {}
            At::StatusLine => (self.at, self.status_line) = (At::Fields, line),
            At::Fields if text.is_empty() && self.is_interim() => {
                // 100, 103 and the like: the answer is still to come.
                (self.at, self.status_line) = (At::StatusLine, Vec::new());
                self.fields.clear();
            }
            At::Fields if text.is_empty() => {
                self.at = At::Behind;
                shown.append(&mut self.status_line);
                for (name, value) in self.fields.iter().filter(|(name, _)| FRAMING.contains(&name.as_str())) {
                    for part in [name.as_bytes(), b":", value, b"\r\n"] {
                        shown.extend_from_slice(part);
                    }
                }
                shown.extend_from_slice(b"\r\n");
            }
            At::Fields => self.take_field(text),
            At::Behind => {}
        }
    }

    fn is_interim(&self) -> bool {
        let mut words = self.status_line.trim_ascii_end().split(|byte| *byte == b' ');
        words.nth(1).is_some_and(|status| status.len() == 3 && status[0] == b'1')
    }

    fn take_field(&mut self, text: &[u8]) {
        if text.starts_with(b" ") || text.starts_with(b"\t") {
            // A line folded as RFC 9112 section 5.2 has it.
            if let Some((_, value)) = self.fields.last_mut() {
                value.push(b' ');
                value.extend_from_slice(text.trim_ascii());
            }
            return;
        }
        // What is no header is left out: it is no reason to lose the answer.
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { return };
        let name = String::from_utf8_lossy(&text[..colon]).trim().to_ascii_lowercase();
        self.fields.push((name, text[colon + 1..].trim_ascii().to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client sees, whole and byte by byte, and the names of the headers.
    fn shown(bytes: &[u8]) -> (String, Vec<String>) {
        let (mut whole, mut slow) = (Head::default(), Head::default());
        let at_once = whole.take(bytes).unwrap();
        let in_bytes: Vec<u8> = bytes.iter().flat_map(|byte| slow.take(&[*byte]).unwrap()).collect();
        assert_eq!(at_once, in_bytes);
        let names = whole.take_fields().into_iter().flatten().map(|(name, _)| name).collect();
        (String::from_utf8(at_once).unwrap(), names)
    }

    #[test]
    fn the_client_sees_what_frames_the_body_and_the_body() {
        let many: String = (0..1000).map(|number| format!("X-{number}: a: b\r\n")).collect();
        let (seen, names) =
            shown(format!("HTTP/1.1 200 OK\r\n{many}Content-Length : 2\r\nRetry-After:7\n\r\n{{}}").as_bytes());
        assert_eq!(seen, "HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\n{}");
        assert_eq!((names.len(), names[1001].as_str()), (1002, "retry-after"));
    }

    #[test]
    fn interim_answers_are_passed_over_whatever_headers_they_have() {
        let (seen, names) = shown(
            b"\r\nHTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103\r\nContent-Length: 9\r\n\r\nHTTP/1.0 400\r\nc: d\r\n\te\r\nodd\r\n\r\n",
        );
        assert_eq!((seen.as_str(), names), ("HTTP/1.0 400\r\n\r\n", vec!["c".to_owned()]));
    }

    #[test]
    fn what_is_not_http_is_left_to_the_client() {
        for bytes in ["SSH-2.0-OpenSSH_9.6\r\n\r\n", "HTTQ", "{}"] {
            assert_eq!(shown(bytes.as_bytes()).0, bytes);
        }
    }

    #[test]
    fn heads_end_somewhere() {
        for filler in ["x: y\r\n", "x", "HTTP/1.1 100 Go on\r\n\r\n"] {
            let mut head = Head::default();
            let start = if filler.starts_with("HTTP") { "" } else { "HTTP/1.1 200 OK\r\n" };
            head.take(start.as_bytes()).unwrap();
            let taken = (0..MOST_BYTES).find(|_| head.take(filler.as_bytes()).is_err());
            assert!(taken.is_some(), "{filler:?}");
        }
    }
}
