//! Requests read and answers written, as HTTP/1.1 has them.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Fault, Processed, Received};

const HEADER_TOKEN: &str = "x-nous-refresh-token";
const LONGEST_REQUEST: usize = 1 << 20;

pub(super) struct Request {
    pub(super) method: String,
    target: String,
    /// Names in lower case.
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// `None`: nothing that looks like a request came.
    pub(super) fn read(socket: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !read_more(socket, &mut bytes)? {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = bytes.split_off(head_end + 4);
        while body.len() < length && read_more(socket, &mut body)? {}
        Ok(Some(Self { method: method.into(), target: target.into(), headers, body }))
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The members of a JSON object or of a form.
    pub(super) fn parameters(&self) -> Option<HashMap<String, String>> {
        let is_json = self.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if !is_json {
            return Some(parse_form(&self.body));
        }
        let members: Map<String, Value> = serde_json::from_slice(&self.body).ok()?;
        let texts = members.into_iter().filter_map(|(name, value)| match value {
            Value::String(text) => Some((name, text)),
            _ => None,
        });
        Some(texts.collect())
    }

    pub(super) fn refresh_token(&self) -> Option<String> {
        let in_header = self.headers.get(HEADER_TOKEN).cloned();
        in_header.or_else(|| self.parameters()?.remove("refresh_token"))
    }

    pub(super) fn received(&self) -> Received {
        Received {
            target: format!("{} {}", self.method, self.path()),
            refresh_token_fingerprint: self.refresh_token().map(|token| fingerprint(&token)),
            client_id: self.parameters().and_then(|mut all| all.remove("client_id")),
            content_type: self.headers.get("content-type").cloned(),
            had_header_token: self.headers.contains_key(HEADER_TOKEN),
            user_agent: self.headers.get("user-agent").cloned(),
            processed: Processed::No,
            replay: false,
            fault: Fault::None,
        }
    }
}

/// Whether there was more.
fn read_more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    if bytes.len() > LONGEST_REQUEST {
        return Ok(false);
    }
    let mut chunk = [0; 4096];
    let read = socket.read(&mut chunk)?;
    bytes.extend_from_slice(&chunk[..read]);
    Ok(read > 0)
}

/// `application/x-www-form-urlencoded`
fn parse_form(body: &[u8]) -> HashMap<String, String> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || decode_form(halves.next().unwrap_or_default());
            (half(), half())
        })
        .collect()
}

fn decode_form(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        rest = behind;
        bytes.push(match (first, hex) {
            (b'+', _) => b' ',
            (b'%', Some(byte)) => {
                rest = &behind[2..];
                byte
            }
            (byte, _) => *byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) date: String,
    pub(super) body: Vec<u8>,
    /// Whether it says how long it is.
    pub(super) length: bool,
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &str, body: &[u8]) -> Self {
        Self {
            status,
            content_type: content_type.into(),
            headers: Vec::new(),
            date: String::new(),
            body: body.into(),
            length: true,
        }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string().as_bytes())
    }

    pub(super) fn bytes(self) -> (Vec<u8>, Vec<u8>) {
        let reason = match self.status {
            200 => "OK",
            307 => "Temporary Redirect",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            429 => "Too Many Requests",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "Status",
        };
        // RFC 6749, section 5.1: an answer with tokens must not be cached.
        let mut head = format!(
            "HTTP/1.1 {} {reason}\r\ndate: {}\r\ncontent-type: {}\r\ncache-control: no-store\r\nconnection: close\r\n",
            self.status, self.date, self.content_type
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.length {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        (head.into_bytes(), self.body)
    }

    pub(super) fn write(self, socket: &mut TcpStream) -> io::Result<()> {
        let (mut bytes, body) = self.bytes();
        bytes.extend(body);
        socket.write_all(&bytes)
    }
}

/// SHA-256, shortened to 128 bits, in hex.
pub(super) fn fingerprint(token: &str) -> String {
    let hash = Sha256::digest(token.as_bytes());
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 9110, section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http_date(unix_time_s: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // 253402300799 is the last second of the year 9999.
    let time = unix_time_s.clamp(0, 253_402_300_799);
    let (mut day, second) = (time / 86400, time % 86400);
    let weekday = WEEKDAYS[(day % 7) as usize];
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while day >= 365 + i64::from(is_leap(year)) {
        day -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    format!(
        "{weekday}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
        day + 1,
        MONTHS[month],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_has_it() {
        for (time, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(time), text);
        }
    }

    #[test]
    fn a_form_is_decoded() {
        let form = parse_form(b"a=1+2&b=%C3%A4%2B&c&d=%zz%&&=e");
        let value = |name: &str| form.get(name).map(String::as_str);
        assert_eq!(value("a"), Some("1 2"));
        assert_eq!(value("b"), Some("ä+"));
        assert_eq!(value("c"), Some(""));
        assert_eq!(value("d"), Some("%zz%"));
        assert_eq!(value(""), Some("e"));
    }
}
